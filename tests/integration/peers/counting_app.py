"""A service that can be killed: it notes each POST it executes in a file before it answers.

Usage: counting_app.py PORT FILE NAME [CERTIFICATE KEY]
"""

import http.server
import os
import ssl
import sys
import time

port, path, name = int(sys.argv[1]), sys.argv[2], sys.argv[3]
notes = os.open(path, os.O_WRONLY | os.O_APPEND)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        os.write(notes, self.headers["X-Id"].encode() + b"\n")
        time.sleep(0.003)  # what it does takes a while
        body = name.encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
        self.wfile.write(head.encode() + body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 512

    def handle_error(self, *_):
        pass  # a proxy that resets a connection it is done with


server = Server(("127.0.0.1", port), Handler)
if len(sys.argv) > 4:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[4], sys.argv[5])
    # Hands are shaken by the thread of each connection.
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
print("listening", flush=True)
server.serve_forever()

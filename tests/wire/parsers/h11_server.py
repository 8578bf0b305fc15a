"""Answers each request with what h11 read: see tests/wire/parsers_test.cc."""

import socketserver

import h11


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 17)
        while connection.our_state is not h11.MUST_CLOSE:
            body = b""
            while not isinstance(event := self.next_event(connection), h11.EndOfMessage):
                if isinstance(event, h11.ConnectionClosed):
                    return
                if isinstance(event, h11.Request):
                    request = event
                if isinstance(event, h11.Data):
                    body += bytes(event.data)
            self.answer(connection, request, body)
            if connection.our_state is h11.DONE:
                connection.start_next_cycle()

    def next_event(self, connection):
        while (event := connection.next_event()) is h11.NEED_DATA:
            connection.receive_data(self.request.recv(65536))
        return event

    def answer(self, connection, request, body):
        text = request.method + b" " + request.target + b"\n"
        for name, value in request.headers:
            text += name + b": " + value + b"\n"
        text += b"\n" + body
        if request.method == b"HEAD":
            text = b""
        length = str(len(text)).encode()
        head = h11.Response(status_code=200, headers=[("Content-Length", length)])
        events = (head, h11.Data(data=text), h11.EndOfMessage())
        self.request.sendall(b"".join(connection.send(event) for event in events))


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


with Server(("127.0.0.1", 0), Handler) as server:
    print("port", server.server_address[1], flush=True)
    server.serve_forever()

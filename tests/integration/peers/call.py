"""One call after the other by `requests`, with what the environment says of proxies and authorities.

Usage: call.py METHOD URL [METHOD URL]...; a POST has a body of 100,000 bytes.
Says of each "STATUS BODY", or "refused: WHY".
"""

import sys

import requests

with requests.Session() as session:
    for method, url in zip(sys.argv[1::2], sys.argv[2::2]):
        body = b"x" * 100_000 if method == "POST" else None
        try:
            response = session.request(method, url, data=body, timeout=20)
            print(response.status_code, response.text, flush=True)
        except requests.exceptions.ProxyError as error:
            print("refused:", error, flush=True)

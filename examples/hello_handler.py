"""A native handler: a function that gets a Request and returns the answer.

    greenhttp hello_handler:hello            in this directory; or as a program of its own:
    python hello_handler.py [ADDRESS]

    curl http://127.0.0.1:8000/you
    curl 'http://127.0.0.1:8000/you?greeting=welcome'
    curl -d '{"name": "you"}' http://127.0.0.1:8000/json
"""

import greenhttp.patch  # first: from here on whatever waits in the standard library lets others run meanwhile

import sys


def hello(request):
    if request.path == "/json":
        return hello_json(request)
    if request.method not in ("GET", "HEAD"):
        raise greenhttp.HTTPError(405, "GET this\n", {"Allow": "GET, HEAD"})  # an error that is the answer
    greeting = request.query.get("greeting", "hello")
    return f"{greeting} {request.path[1:] or 'world'}\n"  # a str is sent as text/plain, bytes as they are


def hello_json(request):
    # json() answers 400 by itself if the content is not JSON.
    return {"hello": request.json(), "from": request.headers.get("User-Agent", "nobody")}  # a dict is sent as JSON


if __name__ == "__main__":
    greenhttp.serve(hello, bind=sys.argv[1:] or "127.0.0.1:8000")

"""The Flask application that greenhttp and werkzeug's development server both serve in test_flask.py."""

import datetime
import hashlib
import io
import logging
import os
import sys
import threading
import time

from flask import (
    Flask,
    Response,
    abort,
    g,
    jsonify,
    make_response,
    redirect,
    request,
    send_file,
    session,
    stream_with_context,
    url_for,
)

app = Flask(__name__)
app.config.update(SECRET_KEY="for tests", MAX_CONTENT_LENGTH=1 << 20)
running = set()  # of the requests in /together
together = threading.Event()


@app.before_request
def number():
    g.word = request.args.get("word", "none")


@app.after_request
def mark(response):
    response.headers["X-After"] = g.get("word", "lost")
    return response


@app.get("/")
def index():
    return "<p>hello</p>"


@app.route("/item/<int:number>/<path:rest>", methods=["GET", "PUT"])
def item(number, rest):
    return jsonify(number=number, rest=rest, method=request.method, url=url_for("item", number=1, rest="a b"))


@app.get("/text/<word>")
def text(word):
    return word, 200, {"Content-Type": "text/plain; charset=utf-8"}


@app.get("/query")
def query():
    return jsonify([[key, request.args.getlist(key)] for key in request.args])


@app.post("/json")
def json():
    return jsonify(got=request.get_json(), length=request.content_length), 201


@app.post("/form")
def form():
    return jsonify(sorted(request.form.items(multi=True)))


@app.post("/upload")
def upload():
    files = request.files.getlist("file")
    return jsonify(
        [[file.filename, file.mimetype, hashlib.sha256(file.read()).hexdigest()] for file in files],
        request.form.to_dict(),
    )


@app.route("/echo", methods=["POST", "PUT", "PATCH", "DELETE"])
def echo():
    data = request.get_data()
    return Response(data, content_type=request.content_type or "application/octet-stream")


@app.post("/ignore")
def ignore():
    return "not read"


@app.get("/stream")
def stream():
    @stream_with_context
    def lines():
        for n in range(5):
            yield f"{n} {request.args.get('word')}\n"

    return Response(lines(), mimetype="text/plain")


@app.get("/sized-stream")
def sized_stream():
    return Response((b"abc" for _ in range(3)), mimetype="text/plain", headers={"Content-Length": "9"})


@app.get("/cookies")
def cookies():
    response = make_response(jsonify(dict(sorted(request.cookies.items()))))
    response.set_cookie("a", "1", httponly=True)
    response.set_cookie("b", "zwei; drei", path="/x")
    response.delete_cookie("c")
    return response


@app.get("/session")
def count():
    session["count"] = session.get("count", 0) + 1
    return str(session["count"])


@app.get("/fails")
def fails():
    raise RuntimeError("inside")


@app.get("/teapot")
def teapot():
    abort(418)


@app.get("/etag")
def etag():
    response = make_response("tagged")
    response.set_etag("v1")
    response.last_modified = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
    return response.make_conditional(request)


@app.get("/file")
def file():
    return send_file(os.environ["FILE"], conditional=True)


@app.get("/memory")
def memory():
    return send_file(io.BytesIO(b"in memory" * 1000), mimetype="application/octet-stream", download_name="m.bin")


@app.get("/moved")
def moved():
    return redirect(url_for("text", word="new"), 303)


@app.get("/no-content")
def no_content():
    return "", 204


@app.get("/about")
def about():
    return jsonify(
        {
            "path": request.path,
            "full": request.full_path,
            "url": request.url,
            "remote": request.remote_addr,
            "secure": request.is_secure,
            "agent": request.user_agent.string,
            "fields": sorted(name for name, _ in request.headers),
        }
    )


@app.get("/together/<int:expected>")
def wait_for_the_others(expected):
    running.add(g.word)
    if len(running) == expected:
        together.set()
    for _ in range(3000):  # sleeping, not waiting on an event: every request is suspended many times
        if together.is_set():
            break
        time.sleep(0.01)
    return jsonify(word=g.word, argument=request.args["word"], most=len(running))


if __name__ == "__main__":
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # nobody empties the pipe of its access log
    server = make_server("127.0.0.1", 0, app, threaded=True)
    print(f"serving at http://127.0.0.1:{server.server_port} (Ctrl-C)", file=sys.stderr, flush=True)
    server.serve_forever()

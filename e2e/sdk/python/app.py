"""A service with nothing of OpenTelemetry in it: opentelemetry-instrument does all. What it serves is said in ../doc.go."""

import logging
import os
import signal
import sys
import time

import flask
import requests
from werkzeug.serving import make_server

name = os.environ["OTEL_SERVICE_NAME"]
following = os.environ.get("NEXT")
app = flask.Flask("shop")
log = logging.getLogger("shop")
log.setLevel(logging.INFO)
logging.getLogger("werkzeug").setLevel(logging.ERROR)  # one record for each request, not two


@app.get("/order/<kind>")
def order(kind):
    log.info("%s serves %s", name, kind, extra={"order.kind": kind})
    if kind == "slow":
        time.sleep(1.2)
    if following:
        requests.get(following + flask.request.path, timeout=30)
        return kind
    return kind, 500 if kind == "error" else 200


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
server = make_server("127.0.0.1", 0, app, threaded=True)
print("listening", server.port, flush=True)
server.serve_forever()

import getpass
import os

from flask import Flask, jsonify

service = Flask(__name__)


@service.get("/greet/<name>")
def greet(name):
    return jsonify(greeting=f"Hello, {name}!", user=getpass.getuser())


@service.get("/health")
def health():
    return "ok"


service.run(host="127.0.0.1", port=int(os.environ["PORT"]))

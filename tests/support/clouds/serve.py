"""Cloud storages of this machine's own, for tests: serve.py DIRECTORY CONTENT

S3 is moto's, with its checks of signatures and policies on. Google's and Azure's storages are below; they speak as much of
the protocol as it takes to give one object to whoever proves who he is. All of them are also reached under their real names,
through a proxy that ends TLS with a certificate of an authority made for the occasion, in DIRECTORY/ca.pem.

Every storage has CONTENT as the object "context.tar.gz" of the bucket "ctx". A line of JSON on stdout says the rest.
"""

import base64, datetime, hashlib, hmac, json, ssl, sys, threading, time, urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import moto.settings
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from moto.server import ThreadedMotoServer

directory, content = sys.argv[1], open(sys.argv[2], "rb").read()
BUCKET, KEY = "ctx", "context.tar.gz"
AZURE_KEY = base64.b64encode(b"the key of an account").decode()
REGION, TOKEN = "eu-west-1", "a-token-of-the-machine"


def start_s3():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host = "127.0.0.1:%d" % server.get_host_and_port()[1]
    who = dict(endpoint_url="http://" + host, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    iam, s3 = boto3.client("iam", **who), boto3.client("s3", **who)
    iam.create_user(UserName="builder")
    resources = ["arn:aws:s3:::%s%s" % (name, tail) for name in (BUCKET, "absent") for tail in ("", "/*")]
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": resources}]}
    iam.put_user_policy(UserName="builder", PolicyName="reads", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName="builder")["AccessKey"]
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": "*"}]}
    role = iam.create_role(RoleName="builder", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName="builder", PolicyName="reads", PolicyDocument=json.dumps(policy))
    session = boto3.client("sts", **who).assume_role(RoleArn=role, RoleSessionName="build")["Credentials"]
    for bucket in (BUCKET, "closed"):
        s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key=KEY, Body=content)
    s3.put_object(Bucket=BUCKET, Key="a folder/c+d%41.tar", Body=content)
    # From now on everything must be signed and allowed.
    moto.settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
    return host, key["AccessKeyId"], key["SecretAccessKey"], session


def pem(key):
    encoding = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(*encoding)


class Authority:
    def __init__(self):
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test clouds")])
        self.contexts, self.lock = {}, threading.Lock()
        root = self.certificate(self.name, self.key, x509.BasicConstraints(ca=True, path_length=None))
        open(directory + "/ca.pem", "wb").write(root.public_bytes(serialization.Encoding.PEM))

    def certificate(self, name, key, *extensions):
        now = datetime.datetime.now(datetime.timezone.utc)
        day = datetime.timedelta(days=1)
        builder = x509.CertificateBuilder(self.name, name, key.public_key(), x509.random_serial_number(), now - day, now + day)
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def context(self, host):
        with self.lock:
            if host not in self.contexts:
                name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
                alternative = x509.SubjectAlternativeName([x509.DNSName(host)])
                certificate = self.certificate(name, self.key, alternative)
                path = "%s/%s.pem" % (directory, host)
                open(path, "wb").write(pem(self.key) + certificate.public_bytes(serialization.Encoding.PEM))
                self.contexts[host] = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
                self.contexts[host].load_cert_chain(path)
            return self.contexts[host]


def xml(code, text="No."):
    return ("<?xml version='1.0'?><Error><Code>%s</Code><Message>%s</Message></Error>" % (code, text)).encode()


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_CONNECT(self):
        self.target = self.path.split(":")[0]
        self.send_response(200)
        self.end_headers()
        self.connection = authority.context(self.target).wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
        self.close_connection = False

    def do_GET(self):
        self.served = getattr(self, "target", "")
        url = urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(url.path)
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length)
        if path == "/computeMetadata/v1/instance/service-accounts/default/token":
            return self.metadata()
        if path.startswith("/latest/"):
            return self.instance(path)
        if self.served.endswith(".amazonaws.com"):
            return self.amazon(path)
        if self.headers.get("x-ms-version"):
            return self.azure(url)
        return self.google(path)

    do_PUT = do_POST = do_GET

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Last-Modified", "Tue, 02 Jan 2024 03:04:05 GMT")
        self.send_header("ETag", '"1"')
        self.end_headers()
        self.wfile.write(body)

    def object(self, path, bucket_missing, object_missing):
        bucket, _, name = path.lstrip("/").partition("/")
        if bucket != BUCKET:
            return self.answer(404, xml(bucket_missing))
        if name != KEY:
            return self.answer(404, xml(object_missing))
        return self.answer(200, content)

    def amazon(self, path):
        """A bucket in a region of its own; STS for its web identities."""
        if self.served.startswith("sts."):
            form = dict(urllib.parse.parse_qsl(self.path.partition("?")[2] + "&" + self.body.decode()))
            if form.get("WebIdentityToken") != TOKEN:
                return self.answer(403, xml("InvalidIdentityToken"))
            names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
            key = "".join("<%s>%s</%s>" % (name, session[name], name) for name in names)
            rest = "<Expiration>2100-01-01T00:00:00Z</Expiration>"
            text = "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>%s%s</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
            return self.answer(200, (text % (key, rest)).encode())
        if "/%s/s3/aws4_request" % REGION not in self.headers.get("Authorization", ""):
            return self.answer(301, xml("PermanentRedirect"), x_amz_bucket_region=REGION)
        if self.served != "%s.s3.%s.amazonaws.com" % (BUCKET, REGION):
            return self.answer(404, xml("NoSuchBucket"))
        return self.object("/" + BUCKET + path, "NoSuchBucket", "NoSuchKey")

    def instance(self, path):
        """The metadata service of one of Amazon's machines."""
        if path == "/latest/api/token":
            return self.answer(200, TOKEN.encode())
        if self.headers.get("X-aws-ec2-metadata-token") != TOKEN:
            return self.answer(401)
        if path.endswith("/security-credentials/"):
            return self.answer(200, b"role")
        credentials = {"AccessKeyId": session["AccessKeyId"], "SecretAccessKey": session["SecretAccessKey"],
                       "Token": session["SessionToken"], "Code": "Success",
                       "Type": "AWS-HMAC", "LastUpdated": "2020-01-01T00:00:00Z", "Expiration": "2100-01-01T00:00:00Z"}
        return self.answer(200, json.dumps(credentials).encode())

    def metadata(self):
        if self.headers.get("Metadata-Flavor") != "Google":
            return self.answer(403)
        token = {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}
        return self.answer(200, json.dumps(token).encode(), Content_Type="application/json")

    def google(self, path):
        scheme, _, bearer = self.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer":
            return self.answer(401, xml("AuthenticationRequired"))
        if bearer != TOKEN and not self.is_signed(bearer):
            return self.answer(403, xml("AccessDenied"))
        return self.object(path, "NoSuchBucket", "NoSuchKey")

    def is_signed(self, token):
        try:
            head, claims, signature = token.split(".")
            text = (head + "." + claims).encode()
            account.public_key().verify(decode(signature), text, padding.PKCS1v15(), hashes.SHA256())
            claims = json.loads(decode(claims))
            return claims["iss"] == "builder@test" and claims["exp"] > time.time()
        except Exception:
            return False

    def azure(self, url):
        get = lambda name: self.headers.get(name, "")
        names = ["Content-Encoding", "Content-Language", "Content-Length", "Content-MD5", "Content-Type", "Date",
                 "If-Modified-Since", "If-Match", "If-None-Match", "If-Unmodified-Since", "Range"]
        values = [get(name) for name in names]
        values[2] = "" if values[2] == "0" else values[2]
        own = sorted((name.lower(), value.strip()) for name, value in self.headers.items() if name.lower().startswith("x-ms-"))
        query = sorted(urllib.parse.parse_qsl(url.query))
        lines = [self.command, *values, *("%s:%s" % pair for pair in own), "/acct" + url.path, *("%s:%s" % pair for pair in query)]
        digest = hmac.new(base64.b64decode(AZURE_KEY), "\n".join(lines).encode(), hashlib.sha256).digest()
        if get("Authorization") != "SharedKey acct:" + base64.b64encode(digest).decode():
            return self.answer(403, xml("AuthenticationFailed", "Server failed to authenticate the request.\nRequestId:1"))
        return self.object(urllib.parse.unquote(url.path), "ContainerNotFound", "BlobNotFound")


class Server(ThreadingHTTPServer):
    daemon_threads = True


authority = Authority()
account = rsa.generate_private_key(public_exponent=65537, key_size=2048)
s3, access, secret, session = start_s3()
service_account = {"type": "service_account", "client_email": "builder@test", "private_key_id": "1", "private_key": pem(account).decode()}
json.dump(service_account, open(directory + "/account.json", "w"))
server = Server(("127.0.0.1", 0), Handler)
proxy = "127.0.0.1:%d" % server.server_address[1]
print(json.dumps({"s3": s3, "access": access, "secret": secret, "proxy": proxy, "azure": AZURE_KEY, "token": TOKEN}), flush=True)
server.serve_forever()

"""certificates: authorities and what they sign, made by the openssl program, as PEM files of one directory."""

import pathlib
import subprocess

NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1"


def openssl(*args):
    """Run openssl; fail with what it says."""
    result = subprocess.run(["openssl", *map(str, args)], capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr
    return result.stdout


class Pair:
    """A certificate and its key."""

    def __init__(self, directory, name):
        self.name = name
        self.cert = pathlib.Path(directory) / f"{name}.crt"
        self.key = pathlib.Path(directory) / f"{name}.key"

    def files(self):
        """Both."""
        return [self.cert, self.key]


class Authority(Pair):
    """An authority that signs what it is asked to."""

    def __init__(self, directory, name="authority"):
        super().__init__(directory, name)
        self.directory = pathlib.Path(directory)
        self.signed = 0
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.key,
                "-out", self.cert, "-days", 30, "-subj", f"/CN={name}")

    def sign(self, name, days=20, password=None, names=NAMES):
        """A new pair; one of -1 days has expired."""
        pair = Pair(self.directory, name)
        request = self.directory / f"{name}.csr"
        hidden = ["-passout", f"pass:{password}"] if password else ["-nodes"]
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", *hidden, "-keyout", pair.key,
                "-out", request, "-subj", f"/CN={name}", "-addext", names)
        self.signed += 1
        opened = ["-passin", f"pass:{password}"] if password else []
        openssl("x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self.key, "-set_serial", self.signed,
                "-days", days, "-copy_extensions", "copy", "-out", pair.cert, *opened)
        request.unlink()
        return pair

"""Shared by the tests of `saslm tokenize`."""
import subprocess

from harness import AppTest, DONE, PATIENCE_S, _command, _environment


class Tokenizing(AppTest):
    def tokenize(self, *args, stdin=None, code=DONE, out=None, env=None, before=None):
        """(the folder of the shards, what was said); `before` is done in the new process first."""
        out = out or self.fresh("out")
        done = subprocess.run(_command(["tokenize", "--out", out, *args]), input=stdin, capture_output=True,
                              env=_environment(env), timeout=PATIENCE_S, preexec_fn=before)
        self.assertEqual(done.returncode, code, done.stderr.decode())
        return out, done.stderr.decode()

    def write(self, name, data):
        """A file of that name in a folder of its own."""
        path = self.fresh("in") / name
        path.parent.mkdir()
        path.write_bytes(data)
        return path

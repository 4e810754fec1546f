#!/usr/bin/env python3
"""Pipes, devices, links and endless files in place of our files: nothing hangs, nothing wrong is read, nothing is
written elsewhere."""
import os
import shutil
import subprocess
import threading
from pathlib import Path

import harness
from harness import DONE, USER, AppTest, Process, checkpoints, saslm, steps_done, tiny_config

PATIENCE_S = 20  # what hangs would hang for good


class StrangeFiles(AppTest):
    reference = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.config = cls.write_config(tiny_config(train={"steps": 10}))
        cls.reference = cls.fresh()
        assert saslm("train", cls.config, "--run-dir", cls.reference).code == DONE

    def copy(self):
        run = self.fresh()
        shutil.copytree(self.reference, run)
        return run

    def instead(self, path):
        """Puts each strange thing in place of the file, in turn."""
        path.unlink(missing_ok=True)
        os.mkfifo(path)
        yield "a pipe"
        path.unlink()
        path.symlink_to("/dev/zero")
        yield "a device"
        path.unlink()
        with open(path, "wb") as file:
            file.truncate(3 << 30)  # sparse
        yield "3 GB"

    def commands_on(self, run):
        yield "inspect", run
        yield "eval", "--checkpoint", run, "--data", self.folder / "val.bin"
        yield "generate", "--checkpoint", run, "--tokens", 1, "--tokenizer", "bytes"
        yield "diff", run, self.reference
        yield "export", "--checkpoint", run, "--out", self.fresh("export")

    def test_files_of_a_checkpoint(self):
        """The newest is refused, and whoever takes the one before says so; in 2 GB of memory and at once."""
        for name in ("manifest.json", "state.json", "config.json", "model.safetensors", "optimizer.safetensors"):
            run = self.copy()
            newest = checkpoints(run)[-1]
            for kind in self.instead(newest / name):
                with self.subTest(name=name, kind=kind):
                    with Process("inspect", newest) as process:
                        done = process.wait()
                    self.assertEqual(done.code, USER, done.err)
                    self.assertLess(process.peak_bytes, 500 << 20)
                    found = saslm("inspect", run, "--json", patience_s=PATIENCE_S)
                    self.assertEqual(found.code, USER, found)
                    again = saslm("train", self.config, "--run-dir", self.copied(run), patience_s=PATIENCE_S)
                    self.assertEqual(again.code, DONE, again.err)
                    self.assertIn("skipped checkpoint", again.err)
            newest.joinpath(name).unlink()

    def copied(self, run):
        """A copy in which the strange file is as strange."""
        other = self.fresh()
        subprocess.run(["cp", "-a", "--sparse=always", run, other], check=True)
        return other

    def test_every_command_on_a_run_whose_manifests_are_pipes(self):
        run = self.copy()
        for checkpoint in checkpoints(run):
            (checkpoint / "manifest.json").unlink()
            os.mkfifo(checkpoint / "manifest.json")
        for command in self.commands_on(run):
            with self.subTest(command[0]):
                done = saslm(*command, patience_s=PATIENCE_S)
                self.assertEqual(done.code, USER, done.err)
                self.assertIn("manifest.json: not a regular file but a pipe", done.out + done.err)

    def test_a_model_folder_whose_config_is_a_pipe(self):
        model = self.fresh("model")
        model.mkdir()
        shutil.copy(checkpoints(self.reference)[-1] / "model.safetensors", model)
        os.mkfifo(model / "config.json")
        for command in (("eval", "--checkpoint", model, "--data", self.folder / "val.bin"),
                        ("train", self.config, "--run-dir", self.fresh(), "--init-from", model)):
            done = saslm(*command, patience_s=PATIENCE_S)
            self.assertEqual(done.code, USER, done.err)
            self.assertIn("config.json: not a regular file", done.err)

    def test_metrics(self):
        run = self.copy()
        metrics = run / "metrics.jsonl"
        metrics.unlink()
        os.mkfifo(metrics)
        for command in (("train", self.config, "--run-dir", run, "--set", "train.steps=12"), ("diff", run, self.reference)):
            done = saslm(*command, patience_s=PATIENCE_S)
            self.assertEqual(done.code, USER, done.err)
            self.assertIn("metrics.jsonl: not a regular file but a pipe", done.err)

    def test_a_config_may_be_a_pipe(self):
        """Which the user named: train <(jq ...), and standard input."""
        text = self.config.read_text().replace('"train.bin"', f'"{self.folder}/train.bin"').replace(
            '"val.bin"', f'"{self.folder}/val.bin"')
        pipe = self.folder / "config_pipe"
        os.mkfifo(pipe)
        writer = threading.Thread(target=pipe.write_text, args=(text,))
        writer.start()
        run = self.fresh()
        done = saslm("train", pipe, "--run-dir", run, patience_s=PATIENCE_S)
        writer.join()
        self.assertEqual((done.code, steps_done(run)), (DONE, 10), done.err)
        done = subprocess.run([os.environ["SASLM"], "plan", "/dev/stdin"], input=text, capture_output=True, text=True)
        self.assertEqual(done.returncode, DONE, done.stderr)
        done = subprocess.run(["bash", "-c", '"$0" plan --no-data <(cat "$1")', os.environ["SASLM"], self.config], capture_output=True,
                              text=True)
        self.assertEqual(done.returncode, DONE, done.stderr)


class Links(AppTest):
    """A run directory is somebody's who may have put links there."""

    def setUp(self):
        self.precious = self.fresh("precious")
        self.precious.write_text("precious")

    def tearDown(self):
        self.assertEqual(self.precious.read_text(), "precious")

    def refused_with(self, name, target):
        run = self.fresh()
        run.mkdir()
        (run / name).symlink_to(target)
        done = saslm("train", self.write_config(tiny_config(train={"steps": 6})), "--run-dir", run)
        self.assertEqual(done.code, USER, done.err)
        self.assertIn(f"{name}: not a regular file but a symbolic link, which saslm does not write through; remove it", done.err)

    def test_the_lock_and_the_metrics(self):
        for name in (".lock", "metrics.jsonl"):
            self.refused_with(name, self.precious)
            absent = self.fresh("absent")
            self.refused_with(name, absent)
            self.assertFalse(absent.exists())

    def test_what_is_replaced_as_a_whole_replaces_the_link(self):
        run = self.fresh()
        run.mkdir()
        (run / "config.json").symlink_to(self.precious)
        self.run_ok("train", self.write_config(tiny_config(train={"steps": 6})), "--run-dir", run)
        self.assertFalse((run / "config.json").is_symlink())

    def test_a_folder_may_be_a_link(self):
        elsewhere, run = self.fresh("disk"), self.fresh()
        elsewhere.mkdir(), run.mkdir()
        (run / "checkpoints").symlink_to(elsewhere)
        self.run_ok("train", self.write_config(tiny_config(train={"steps": 6})), "--run-dir", run)
        self.assertTrue(list(elsewhere.glob("step_*")))

    def test_temporary_files_of_a_report(self):
        """The plots' part alone: it is a program of its own, in the binary."""
        source = Path(__file__).resolve().parents[2] / "src" / "app" / "plot_comparison.py"
        text = source.read_text()
        write = text[text.index("def write("):text.index("def main(")]
        space = {"os": os}
        exec(write, space)
        report = self.fresh("report")
        report.with_name(report.name + ".tmp").symlink_to(self.precious)
        report.symlink_to(self.precious)
        space["write"](report, b"new")
        self.assertEqual(report.read_bytes(), b"new")
        self.assertFalse(report.is_symlink() or report.with_name(report.name + ".tmp").is_symlink())


if __name__ == "__main__":
    harness.main()

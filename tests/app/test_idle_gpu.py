#!/usr/bin/env python3
"""A run that uses the CPU although there is a GPU says why, unless the user chose the CPU. The GPU is an empty device
file, in a /dev
that only the program sees."""
import os
import subprocess

import harness
from harness import DONE, saslm

IN_A_DEV_OF_ITS_OWN = "mount -t tmpfs none /dev && : >/dev/null && : >/dev/nvidia0 && "
UNSHARE = ["unshare", "--mount", "--propagation", "private", "sh", "-c"]


class IdleGpu(harness.AppTest):
    def setUp(self):
        try:
            subprocess.run([*UNSHARE, IN_A_DEV_OF_ITS_OWN + "true"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            self.skipTest("this machine lets nobody mount a /dev of its own")
        self.beside = self.fresh("saslm_beside_a_gpu")
        self.beside.write_text("#!/bin/sh\nexec " + " ".join(UNSHARE) +
                               f" '{IN_A_DEV_OF_ITS_OWN}exec \"$0\" \"$@\"' {os.environ['SASLM']} \"$@\"\n")
        self.beside.chmod(0o755)

    def said(self, device, program, **env):
        config = self.write_config(harness.tiny_config(), "tiny.json")
        settings = [word for key in (f"device={device}", "peak_tflops=1") for word in ("--set", f"runtime.{key}")]
        done = saslm("bench", "step", config, *settings, "--steps", 1, "--warmup", 0, program=program, env=env)
        self.assertEqual(done.code, DONE, done.err)
        return done.err

    def test_it_is_warned_of_where_the_cpu_was_not_asked_for(self):
        said = self.said("auto", self.beside)
        self.assertIn("warning: this machine has an NVIDIA GPU, but the run uses the CPU: ", said)
        self.assertIn("(set runtime.device=cpu to silence this)", said)

    def test_not_where_it_is_meant(self):
        self.assertNotIn("NVIDIA", self.said("cpu", self.beside))
        self.assertNotIn("NVIDIA", self.said("auto", self.beside, CUDA_VISIBLE_DEVICES=""))
        self.assertNotIn("NVIDIA", self.said("auto", self.beside, CUDA_VISIBLE_DEVICES="-1"))


if __name__ == "__main__":
    harness.main()

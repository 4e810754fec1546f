#!/usr/bin/env python3
"""How the build looks for CUDA and chooses code: cmake/find_cuda.cmake and cmake/gpu_code.cmake, run by `cmake -P` among
folders that hold stand-ins for nvcc.

  test_cuda_build.py [UNITTEST OPTIONS]
"""
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

CMAKE = pathlib.Path(__file__).resolve().parents[2] / "cmake"


def cmake(script, environment=None, **settings):
    """Exit code and what `message` wrote."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "script.cmake"
        path.write_text(f"include({CMAKE}/find_cuda.cmake)\ninclude({CMAKE}/gpu_code.cmake)\n{script}\n")
        done = subprocess.run([shutil.which("cmake"), *(f"-D{k}={v}" for k, v in settings.items()), "-P", path],
                              capture_output=True, text=True, env=environment, check=False)
    return done.returncode, done.stderr


class FindNvcc(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)

    def nvcc(self, place, release="12.4"):
        path = self.root / place / "nvcc"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\necho 'Cuda compilation tools, release {release}, V{release}.1'\n")
        path.chmod(0o755)
        return str(path)

    def found(self, path="", **variables):
        no_nvcc = [f for f in ["/usr/bin", "/bin"] if not os.path.exists(f + "/nvcc")]
        environment = {"PATH": ":".join([path] * bool(path) + no_nvcc), **variables}
        code, said = cmake('saslm_find_nvcc()\nmessage("${SASLM_NVCC}|$ENV{CUDACXX}|${SASLM_NVCC_PASSED_OVER}")',
                           environment, SASLM_SYSTEM_ROOT=self.root)
        self.assertEqual(code, 0, said)
        return said.strip().split("|")

    def test_the_path_comes_first_then_what_modules_and_conda_set_then_the_installer(self):
        self.assertEqual(self.found(), ["", "", ""])
        older = self.nvcc("usr/local/cuda-12.4/bin")
        self.assertEqual(self.found(), [older, older, ""])
        newer = self.nvcc("usr/local/cuda-12.10/bin")
        self.assertEqual(self.found()[0], newer)
        link = self.nvcc("usr/local/cuda/bin")
        self.assertEqual(self.found()[0], link)
        conda = self.nvcc("conda/bin")
        self.assertEqual(self.found(CONDA_PREFIX=f"{self.root}/conda")[0], conda)
        module = self.nvcc("module/bin")
        for variable in ("CUDA_HOME", "CUDA_PATH", "CUDA_ROOT", "EBROOTCUDA"):
            self.assertEqual(self.found(CONDA_PREFIX=f"{self.root}/conda", **{variable: f"{self.root}/module"})[0], module)
        on_path = self.nvcc("path")
        self.assertEqual(self.found(f"{self.root}/path", CUDA_HOME=f"{self.root}/module")[0], on_path)

    def test_what_the_user_names_is_taken(self):
        self.nvcc("usr/local/cuda/bin")
        self.assertEqual(self.found(CUDACXX="/my/nvcc"), ["/my/nvcc", "/my/nvcc", ""])

    def test_one_that_is_too_old_is_passed_over_and_said(self):
        old = self.nvcc("path", "11.5")
        self.assertEqual(self.found(f"{self.root}/path"), ["", "", f"{old} (11.5)"])
        new = self.nvcc("usr/local/cuda/bin", "12.4")
        self.assertEqual(self.found(f"{self.root}/path"), [new, new, f"{old} (11.5)"])


class Headers(unittest.TestCase):
    def fitting(self, major, *folders):
        code, said = cmake(f'saslm_fitting_wheels(found {" ".join(folders)})\nmessage("${{found}}")',
                           CUDAToolkit_VERSION_MAJOR=major)
        self.assertEqual(code, 0, said)
        return said.strip().split(";")

    def test_wheels_of_another_cuda_are_left_out(self):
        folders = [f"/site/nvidia/{name}/include" for name in ("cublas", "cu13", "cu14", "nccl")]
        self.assertEqual(self.fitting(12, *folders), [folders[0], folders[3]])
        self.assertEqual(self.fitting(13, *folders), [folders[1], folders[3]])

    def test_a_library_is_looked_for_beside_its_headers(self):
        with tempfile.TemporaryDirectory() as root:
            for folder in ("wheel/include", "wheel/lib", "toolkit/targets/x/include", "toolkit/targets/x/lib"):
                os.makedirs(f"{root}/{folder}")
            open(f"{root}/wheel/lib/libnccl.so.2", "w").close()
            for include, wanted in (("wheel/include", f"{root}/wheel/lib"), ("toolkit/targets/x/include", "")):
                _, said = cmake(f'saslm_library_folder(found {root}/{include} nccl)\nmessage("${{found}}")')
                self.assertEqual(said.strip(), wanted)


class Code(unittest.TestCase):
    def options(self, *entries):
        code, said = cmake(f'saslm_generate_code(options words {" ".join(entries)})\nmessage("${{options}}|${{words}}")')
        return tuple(said.strip().split("|")) if code == 0 else said

    def test_all_cards_by_default_as_far_as_nvcc_knows_them(self):
        for version, wanted in (("12.4", "80-virtual;80-real;90-real"),
                                ("12.8", "80-virtual;80-real;90-real;100-real;120-real"),
                                ("13.0", "80-virtual;80-real;90-real;100-real;120-real")):
            code, said = cmake(f'saslm_default_architectures(found {version})\nmessage("${{found}}")')
            self.assertEqual((code, said.strip()), (0, wanted))

    def test_one_ptx_serves_all(self):
        self.assertEqual(self.options("80-virtual", "80-real", "90-real", "120-real"),
                         ("--generate-code=arch=compute_80,code=[compute_80,sm_80,sm_90,sm_120]",
                          "compute_80 sm_80 sm_90 sm_120"))
        self.assertEqual(self.options("120"), ("--generate-code=arch=compute_80,code=[compute_80,sm_120]",
                                               "compute_80 sm_120"))
        self.assertEqual(self.options("86-real"), ("--generate-code=arch=compute_80,code=[sm_86]", "sm_86"))

    def test_what_is_of_one_card_alone_has_its_own(self):
        self.assertEqual(self.options("80-real", "90a-real"),
                         ("--generate-code=arch=compute_80,code=[sm_80];--generate-code=arch=compute_90a,code=sm_90a",
                          "sm_80 sm_90a"))
        self.assertEqual(self.options("90-virtual"), ("--generate-code=arch=compute_90,code=compute_90", "compute_90"))

    def test_nonsense_is_refused(self):
        self.assertIn('holds "sm_90"; wanted numbers such as 90', " ".join(self.options("sm_90").split()))
        self.assertIn('holds "75": the kernels need compute capability 8.0', " ".join(self.options("75").split()))

    def test_what_this_nvcc_does_not_know_is_refused_with_what_it_knows(self):
        with tempfile.TemporaryDirectory() as root:
            nvcc = pathlib.Path(root) / "nvcc"
            nvcc.write_text("#!/bin/sh\necho sm_80\necho sm_90\n")
            nvcc.chmod(0o755)
            self.assertEqual(cmake(f'saslm_check_nvcc_knows({nvcc} "compute_80 sm_80 sm_90")')[0], 0)
            code, said = cmake(f'saslm_check_nvcc_knows({nvcc} "compute_80 sm_80 sm_100")')
            self.assertNotEqual(code, 0)
            self.assertIn("makes no code for sm_100; it knows sm_80 sm_90", " ".join(said.split()))


if __name__ == "__main__":
    unittest.main()

"""What importing the package costs."""

import subprocess
import sys

import pytest

DOORS = ("localize", "evaluate", "train", "export", "annotate", "clickme", "demo", "serve")
HEAVY = {"torch", "numpy", "PIL", "nltk", "cv2", "pandas", "pyarrow", "skimage", "torchvision", "timm", "onnx"}
HEAVY |= {"gradio", "starlette", "supervision", "tqdm", "uvicorn"}
RECORD = """
import sys, torch
from grounding import attention
model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2))
maps = attention.contrastive_mwp(attention.record(model.eval(), torch.rand(1, 3, 8, 8)), torch.eye(2), layer=0)
assert maps.shape == (1, 2, 8, 8)
assert "torch._dynamo" not in sys.modules  # takes as long to import as all of torch
"""


def modules_after(code: str) -> set[str]:
    """The top-level modules that a fresh process has imported after running this code."""
    names = "import sys; print('modules', *{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{names}"], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize("door", DOORS)
def test_help_imports_nothing_heavy(door):
    ask = f"from grounding.{door} import main\ntry: main(['--help'])\nexcept SystemExit as stop: assert not stop.code"
    assert modules_after(ask) & HEAVY == set()


def test_importing_the_package_and_its_engine_imports_nothing_heavy():
    code = "import grounding, grounding.attention, grounding.baselines\nassert 'record' in dir(grounding.attention)"
    assert modules_after(code) & HEAVY == set()


@pytest.mark.slow
def test_recording_a_bare_model_needs_torch_and_no_more():
    torch_alone = modules_after("import torch, torch.utils._python_dispatch; torch.rand(1, 3)")
    assert (modules_after(RECORD) & HEAVY) - torch_alone == set()

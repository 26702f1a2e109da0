"""The hub, on a server of our own: what is fetched and pushed, what an error says, and that offline means offline."""

import json
import socket

import pytest
import torch
from safetensors.torch import load_file

from grounding.errors import GroundingError
from grounding.tagging.classifier import Preprocessing, TagClassifier
from grounding.tagging.hub import Access, fetch, find_folder, is_hub_name, is_offline
from grounding.tagging.network import plain_network
from grounding.tagging.sources import load_classifier
from helpers.errors import facts
from helpers.fake_hub import FakeHub, serving

TAGS = ["cat", "dog", "hat"]


def classifier():
    return TagClassifier(
        plain_network([[4, 2], [8, 2]], 3, "average", normalised=False).eval(), TAGS, Preprocessing(16), "c"
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """What `save_pretrained` writes."""
    folder = tmp_path_factory.mktemp("saved") / "c"
    torch.manual_seed(0)
    classifier().save_pretrained(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """An empty hub with an empty cache."""
    from huggingface_hub import constants

    for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    with serving(FakeHub()) as served:
        monkeypatch.setattr(constants, "ENDPOINT", served.url)
        template = served.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield served


@pytest.fixture
def no_network(monkeypatch):
    """Every attempt to reach another machine, or this one, fails the test."""
    attempts = []

    def refuse(*arguments, **_):
        attempts.append(arguments)
        raise AssertionError(f"a network was used: {arguments}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    yield
    assert attempts == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("user/name", True),
        ("user/my-model_1.0", True),
        ("user/name@v1", True),
        ("name", False),
        ("a/b/c", False),
        ("/user/name", False),
        ("", False),
        ("user/", False),
        ("us er/name", False),
    ],
)
def test_names_on_the_hub(text, expected):
    assert is_hub_name(text) == expected


@pytest.mark.parametrize(("value", "expected"), [("", False), ("0", False), ("1", True), ("true", True), ("YES", True)])
def test_offline_by_the_environment(monkeypatch, value, expected):
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert is_offline() == expected == Access().offline
    assert Access(local_files_only=True).offline


def test_a_classifier_comes_from_the_hub_once(hub, files, request):
    hub.repositories["user/name"] = {**files, "pytorch_model.bin": b"harm", "README.md": b"read me"}
    found = load_classifier("user/name")
    assert (found.name, found.tags) == ("user/name", tuple(TAGS))
    folder = fetch("user/name")
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors"}  # nothing else
    state = load_file(folder / "model.safetensors")
    assert all(torch.equal(value.float(), found.network.state_dict()[key]) for key, value in state.items())
    request.getfixturevalue("no_network")
    again = load_classifier("user/name", offline=True)  # from the cache
    assert again.fingerprint() == found.fingerprint()
    assert TagClassifier.from_pretrained("user/name", "mine", local_files_only=True).name == "mine"


def test_a_local_folder_goes_before_the_hub(hub, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "user" / "name").mkdir(parents=True)
    for name, content in files.items():
        (tmp_path / "user" / "name" / name).write_bytes(content)
    assert load_classifier("user/name").tags == tuple(TAGS)
    assert str(find_folder("user/name")) == "user/name"
    assert hub.asked == []


@pytest.mark.parametrize(
    ("name", "access", "message"),
    [
        ("user/none", Access(), facts("the hub has no 'user/none'", "check the name", "hf auth login")),
        ("user/gated", Access(), facts("'user/gated' is gated", "accept its terms", "hf auth login")),
        ("user/name", Access(revision="v9"), facts("no revision 'v9'", "a branch, a tag or a commit")),
        ("user/name@v9", Access(), facts("no revision 'v9'")),
        ("user/name", Access(local_files_only=True), facts("not in the cache", "--offline", "local folder")),
        ("user/..", Access(), "is no name on the hub: expected user/name"),
    ],
)
def test_what_cannot_be_fetched(hub, files, name, access, message):
    hub.repositories["user/name"] = files
    hub.gated.add("user/gated")
    with pytest.raises(GroundingError, match=message) as error:
        fetch(name, access)
    assert "\n" not in str(error.value)
    assert not access.local_files_only or hub.asked == []


def test_a_hub_that_does_not_answer(hub, monkeypatch):
    from huggingface_hub import constants

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(
            GroundingError, match=facts("'user/name' cannot be fetched", "check the connection")
        ) as error:
            fetch("user/name")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model.safetensors": None}, "has no model.safetensors"),
        ({"config.json": None}, "cannot be read"),
        ({"config.json": b'{"model_type": "vit"}'}, facts("lacks schema_version", "hf:")),
        ({"model.safetensors": b"cut"}, "are corrupt"),
    ],
)
def test_a_repository_that_is_not_whole(hub, files, change, message):
    hub.repositories["user/name"] = {key: value for key, value in {**files, **change}.items() if value is not None}
    with pytest.raises(GroundingError, match=message) as error:
        load_classifier("user/name")
    assert "\n" not in str(error.value)


def test_a_classifier_is_pushed_and_comes_back(hub):
    mine = classifier()
    address = mine.push_to_hub("user/new", token="hf_x", private=True)
    assert address.startswith(f"{hub.url}/user/new/commit/")
    assert set(hub.repositories["user/new"]) == {"config.json", "model.safetensors", "README.md"}
    card = hub.repositories["user/new"]["README.md"].decode()
    assert "library_name: grounding" in card.split("---")[1]
    assert 'from_pretrained("user/new")' in card
    back = TagClassifier.from_pretrained("user/new")
    images = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(back.network(images), mine.network(images), rtol=0.05, atol=0.05)  # bfloat16
    assert back.tags == mine.tags


def test_nothing_is_pushed_offline(monkeypatch, no_network):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(GroundingError, match="HF_HUB_OFFLINE forbids it"):
        classifier().push_to_hub("user/new")


@pytest.mark.parametrize(
    "source",
    ["user/name", "user/name@v1", "torchvision:squeezenet1_1", "timm:resnet18", "hf:user/name", "clip:user/name"],
)
def test_offline_no_source_uses_a_network(source, no_network, monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("torch.hub._hub_dir", None)
    with pytest.raises(GroundingError, match="--offline") as error:
        load_classifier(source, offline=True)
    assert "\n" not in str(error.value)


def test_the_command_line_says_offline_for_all(run, monkeypatch, no_network, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")  # given back afterwards
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    status, printed, said = run("--classifier", "user/name", "--offline", "--caption", "a dog")
    assert (status, printed) == (2, "")
    assert said.startswith("error: 'user/name' is not in the cache of the hub, and --offline")
    status, printed, _ = run("--offline", "--caption", "a dog", "--json")  # nothing to fetch
    assert (status, json.loads(printed)["classifier"]) == (0, "embedded")


def test_without_the_library_an_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(GroundingError, match=facts("needs huggingface_hub", r"pip install 'grounding\[hf\]'")):
        fetch("user/name")

"""Serve configs: those that are checked in, those that are written, and what is wrong with others. It needs Ray."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.places import REPOSITORY

from enlarger.config import load
from enlarger.errors import ConfigError
from enlarger.models import Catalogue

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.usefixtures("no_settings"),
    # Ray's own schemas have such fields.
    pytest.mark.filterwarnings(
        "ignore:Using extra keyword arguments on .Field.:DeprecationWarning"
    ),
]

EXAMPLE = REPOSITORY / "deploy" / "ray" / "serve.yaml"
KUBERNETES = REPOSITORY / "deploy" / "kubernetes" / "rayservice.yaml"


@pytest.fixture(autouse=True)
def _ray() -> None:
    pytest.importorskip("ray")


def test_example_is_what_the_command_deploys(tmp_path: Path) -> None:
    """Each application of it can be built, and so can that of KubeRay."""
    import yaml

    from enlarger.cluster.deployment import build, read_config

    inner = tmp_path / "kubernetes.yaml"
    inner.write_text(yaml.safe_load(KUBERNETES.read_text())["spec"]["serveConfigV2"])
    for path, names in ((EXAMPLE, ["enlarger-cpu", "enlarger-gpu"]), (inner, ["enlarger-cpu"])):
        config = read_config(path)
        assert [one.name for one in config.applications] == names
        for application in config.applications:
            assert application.import_path == "enlarger.cluster.deployment:build"
            assert build(application.args) is not None


def test_written_config_is_read_again(tmp_path: Path) -> None:
    """As it was, with the device and the limits that were asked for."""
    from enlarger.cluster.deployment import as_yaml, growing_config, read_config

    config = growing_config(load().server, device="vulkan:0", threads=2, least=1, most=4)
    path = tmp_path / "models.yaml"
    path.write_text(as_yaml(config))
    (application,) = read_config(path).applications
    assert application.name == "enlarger-vulkan-0"
    assert (application.args["device"], application.args["threads"]) == ("vulkan:0", 2)
    assert application == config.applications[0]


@pytest.mark.parametrize("threads", [1, 2, 3, 4, 8])
def test_gateway_sends_as_many_tiles_as_to_a_model_server(threads: int, tmp_path: Path) -> None:
    """Those that its engine computes, and as many that wait; a cluster grows once each replica computes all it can."""
    from enlarger.cluster.deployment import GATEWAYS, build, calls_at_once, growing_config
    from enlarger.engine.factory import make_engine

    engine = make_engine(Catalogue.installed(tmp_path), device="cpu", threads=threads)
    assert calls_at_once("cpu", threads) == engine.facts().capacity
    assert calls_at_once("vulkan:0", threads) == 4
    config = growing_config(load().server, device="cpu", threads=threads, least=1, most=4)
    growing = config.applications[0].deployments[0].autoscaling_config
    assert growing["target_ongoing_requests"] == engine.facts().parallel
    deployment = build(config.applications[0].args)._bound_deployment
    assert deployment.max_ongoing_requests == GATEWAYS * engine.facts().capacity


def test_cluster_on_this_machine_has_a_replica_for_each_model_server() -> None:
    """An application for each device."""
    from enlarger.cluster.deployment import local_config

    config = local_config(load(num_servers=3, devices="vulkan:0,cpu"))
    assert [
        (one.name, one.deployments[0].num_replicas, one.args["device"])
        for one in config.applications
    ] == [("enlarger-vulkan-0", 1, "vulkan:0"), ("enlarger-cpu", 3, "cpu")]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"name": "cpu", "device": "gpu"}, "args.device of an application"),
        ({"name": "cpu", "threads": 0}, "args.threads of an application"),
        ({"name": "cpu", "colour": "red"}, "args.colour of an application"),
        ({}, "args.name of an application"),
    ],
)
def test_wrong_argument_is_named(arguments: dict[str, object], text: str) -> None:
    """With what is allowed."""
    from enlarger.cluster.deployment import build

    with pytest.raises(ConfigError, match=text):
        build(arguments)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("applications: [{name: other, import_path: 'a:b'}]", "not 'other'"),
        ("applications: []", "it must have applications"),
        ("a: [", "it is no config of Ray Serve"),
    ],
)
def test_config_of_others_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    """The error names the file."""
    from enlarger.cluster.deployment import read_config

    path = tmp_path / "serve.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=reason) as refused:
        read_config(path)
    assert str(refused.value).startswith(str(path))


def test_missing_config_is_an_error_of_one_line(tmp_path: Path) -> None:
    """Not a traceback."""
    from enlarger.cluster.deployment import read_config

    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path / "none.yaml")

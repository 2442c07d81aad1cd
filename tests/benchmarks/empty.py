"""An empty Kopf operator: the libraries of the operator, a watch on profiles, and nothing done.

Run as `python -m benchmarks.empty KUBECONFIG`. It says `ready` when its watch is open. Its memory is what the
framework costs before the operator's own code.
"""

import asyncio
import sys
from typing import Any, Final

import aiohttp.web
import click
import croniter
import durationpy
import kopf
import pydantic
import yaml
from kubernetes.aio import client, config
from kubernetes.utils import quantity
from posit import connect

LIBRARIES: Final = (aiohttp.web, click, connect, croniter, durationpy, pydantic, quantity, yaml)
"""What the operator imports beside Kopf and the API client."""


async def main(kubeconfig: str) -> None:
    """Watch profiles until a signal."""
    configuration = client.Configuration()
    await config.load_kube_config(kubeconfig, client_configuration=configuration)
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(
            server=configuration.host,
            ca_path=configuration.ssl_ca_cert,
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
        )

    @kopf.on.event("connect-autoscaler.io", "v1alpha1", "connectautoscalingprofiles", registry=registry)
    async def event(**_: Any) -> None:
        pass

    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.peering.standalone = True
    ready = asyncio.Event()
    async with client.ApiClient(configuration):
        running = asyncio.create_task(
            kopf.operator(registry=registry, settings=settings, clusterwide=True, standalone=True, ready_flag=ready)
        )
        await ready.wait()
        print("ready", flush=True)
        await running


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

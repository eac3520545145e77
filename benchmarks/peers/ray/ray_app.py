"""Ray Serve: one replica; up to 32 requests are gathered for at most a millisecond and predicted as one."""

import os
import signal
from typing import Any

import joblib
import numpy as np
import ray
from ray import serve
from starlette.requests import Request


class Trees:
    def __init__(self, path: str) -> None:
        self.model = joblib.load(path)

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.001)
    async def predict(self, parts: list[np.ndarray]) -> list[np.ndarray]:
        predicted = self.model.predict(np.concatenate(parts))
        return np.split(predicted, np.cumsum([len(rows) for rows in parts])[:-1])

    async def __call__(self, request: Request) -> dict[str, Any]:
        rows = np.array((await request.json())["rows"])
        return {"predictions": (await self.predict(rows)).tolist()}


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, configure_logging=False, _temp_dir=os.environ["PEER_SCRATCH"])
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["PEER_PORT"]), "location": "HeadOnly"})
    deployed = serve.deployment(Trees, num_replicas=1, max_ongoing_requests=128, ray_actor_options={"num_cpus": 1})
    serve.run(deployed.bind(os.environ["PEER_MODEL"]), route_prefix="/")
    signal.pause()

"""LitServe: requests of up to 32 rows' bodies are gathered for at most a millisecond and predicted as one."""

import os
from typing import Any

import joblib
import litserve
import numpy as np


class Trees(litserve.LitAPI):
    def setup(self, _device: str) -> None:
        self.model = joblib.load(os.environ["PEER_MODEL"])

    def decode_request(self, request: dict[str, Any]) -> np.ndarray:
        return np.array(request["rows"])

    def batch(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        return inputs

    def predict(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        predicted = self.model.predict(np.concatenate(inputs))
        return np.split(predicted, np.cumsum([len(rows) for rows in inputs])[:-1])

    def unbatch(self, output: list[np.ndarray]) -> list[np.ndarray]:
        return output

    def encode_response(self, output: np.ndarray) -> dict[str, list[int]]:
        return {"predictions": output.tolist()}


if __name__ == "__main__":
    api = Trees(max_batch_size=32, batch_timeout=0.001)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1",
        port=int(os.environ["PEER_PORT"]),
        num_api_servers=1,
        log_level="warning",
        generate_client_file=False,
    )

"""FastAPI with a typed body around `model.predict`, as most people write it first."""

import os

import joblib
import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
model = joblib.load(os.environ["PEER_MODEL"])


class Rows(BaseModel):
    rows: list[list[float]]


@app.post("/predict")
async def predict(body: Rows) -> dict[str, list[int]]:
    return {"predictions": model.predict(np.array(body.rows)).tolist()}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PEER_PORT"]), log_level="warning", access_log=False)

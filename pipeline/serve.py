"""Answers images with the best network of a study, to try it: one request at a time, some images each.

pipeline/python -m pipeline.serve quickstart --port 5001
"""

import argparse
import os
import sys
from pathlib import Path

from mlflow.exceptions import MlflowException

from pipeline.errors import UserError, command
from pipeline.running.logbook import tracking_uri
from pipeline.text import nearest, printable
from pipeline.tracking import ports, registry
from pipeline.tracking.mlflow_log import answering, connect


@command
def main() -> None:
    parser = argparse.ArgumentParser(prog="pipeline/python -m pipeline.serve", description="Serves a study's champion")
    parser.add_argument("study", help="a study that has a report; of several data sets, STUDY-DATASET")
    parser.add_argument("--port", type=ports.port, default=5001, help="where it answers, 5001 if it is not named")
    options = parser.parse_args()
    check_champion(options.study)
    ports.check(options.port, "serve")
    # MLflow starts its server by name.
    os.environ |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "MLFLOW_TRACKING_URI": tracking_uri()}
    model = ["-m", f"models:/{options.study}@{registry.CHAMPION}", "--env-manager", "local"]
    where = ["--host", ports.HOST, "--port", str(options.port)]
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", "models", "serve", *model, *where])


def check_champion(name: str) -> None:
    """Whether a network is registered under this name.

    Raises:
        UserError: none is; says which are.
    """
    with answering():
        client = connect()
        known = [model.name for model in client.search_registered_models()]
        try:
            client.get_model_version_by_alias(name, registry.CHAMPION)
        except MlflowException:
            hint = nearest(name, known) if known else "; a study's report registers its best: make launch STUDY=…"
            raise UserError(f"STUDY: no network of '{printable(name)}' is registered{hint}") from None


if __name__ == "__main__":
    main()

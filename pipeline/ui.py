"""Opens the MLflow UI on the runs of this checkout, and says where it shows each study.

pipeline/python -m pipeline.ui --port 5000
"""

import argparse
import os
import sys

from pipeline.errors import UserError, command
from pipeline.running.logbook import tracking_uri
from pipeline.text import redact
from pipeline.tracking import ports, views
from pipeline.tracking.mlflow_log import answering, connect


@command
def main() -> None:
    parser = argparse.ArgumentParser(prog="pipeline/python -m pipeline.ui", description="Opens the MLflow UI")
    parser.add_argument("--port", type=ports.port, default=5000, help="where it answers, 5000 if it is not named")
    port = parser.parse_args().port
    if not tracking_uri().startswith("sqlite"):
        raise UserError(f"MLFLOW_TRACKING_URI: {redact(tracking_uri())} has the runs; look at them there")
    ports.check(port, "ui")
    with answering():
        experiments = connect().search_experiments(order_by=["name"])
    for experiment in experiments:
        if views.TAG + views.ROWS in experiment.tags:
            print(f"{experiment.name}: http://{ports.HOST}:{port}/{views.link(experiment.experiment_id)}", flush=True)
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    where = ["--host", ports.HOST, "--port", str(port), "--workers", "1", "--backend-store-uri", tracking_uri()]
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", "server", *where])


if __name__ == "__main__":
    main()

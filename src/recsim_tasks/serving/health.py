"""Health checks and metrics, for load balancers and Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from recsim_tasks.serving import openapi
from recsim_tasks.serving.dependencies import require_token
from recsim_tasks.serving.problems import RELEASE_HEADER, RETRY_SECONDS, problem_document
from recsim_tasks.serving.responses import Liveness, Readiness
from recsim_tasks.serving.target import STATES

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
router = APIRouter(tags=["operations"])


@router.get(
    "/health/live",
    operation_id="get_liveness",
    summary="Check that the process answers",
    response_model=Liveness,
)
async def get_liveness() -> JSONResponse:
    """Needs no token."""
    return JSONResponse({"status": "live"})


@router.get(
    "/health/ready",
    operation_id="get_readiness",
    summary="Check that every worker has a release",
    response_model=Readiness,
    responses=openapi.error_responses({503: "A worker has no release yet."}),
)
async def get_readiness(request: Request) -> JSONResponse:
    """Needs no token, so it names a problem by a state; the reason is in the server's log."""
    current, problem = request.app.state.swap.current, request.app.state.swap.problem
    state = problem.state if problem else None
    oldest = request.app.state.metrics.oldest_release()
    if current is None or not oldest:
        return problem_document(503, STATES[state or "starting"], {"Retry-After": RETRY_SECONDS})
    manifest = current.release.manifest
    readiness = {
        "status": "ready",
        "release": current.version,
        "oldest_release": oldest,
        "cursor": manifest.cursor.as_json(),
        "products": manifest.counts["products"],
        "model_fingerprint": manifest.model_fingerprint,
        "problem": state,
    }
    return JSONResponse(readiness, headers={RELEASE_HEADER: str(current.version)})


@router.get(
    "/metrics",
    operation_id="get_metrics",
    summary="Get all metrics in Prometheus's text format",
    dependencies=[Depends(require_token)],
    response_class=Response,
    responses={
        200: {"description": "The metrics.", "content": {METRICS_TYPE: {}}},
        **openapi.error_responses(openapi.UNAUTHORISED),
    },
)
def get_metrics(request: Request) -> Response:
    """Values of all workers are combined."""
    return Response(request.app.state.metrics.page(), media_type=METRICS_TYPE)

"""Every dialect's router."""

from fastapi import APIRouter

from trivet.api.dialects.cohere import cohere_router
from trivet.api.dialects.infinity import infinity_router
from trivet.api.dialects.rerank_v1 import rerank_v1_router
from trivet.api.dialects.shared import shared_router
from trivet.api.dialects.tei.routes import tei_router
from trivet.api.dialects.vllm import vllm_router
from trivet.api.service import Service


def dialect_routers(service: Service) -> list[APIRouter]:
    """All of them, over one service."""
    makers = (rerank_v1_router, cohere_router, tei_router, vllm_router, infinity_router, shared_router)
    return [make(service) for make in makers]

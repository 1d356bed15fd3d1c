"""What users of other packages reported, or asked for: each report is named by a test that answers it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

REPORTS = (
    "Arize-ai/phoenix#12687",
    "Azure/Communication#53",
    "Azure/Communication#78",
    "Azure/azure-sdk#3712",
    "Azure/azure-sdk-for-js#19804",
    "Azure/azure-sdk-for-js#39156",
    "Azure/azure-sdk-for-net#25031",
    "Azure/azure-sdk-for-python#6354",
    "Azure/azure-sdk-for-python#8972",
    "Azure/azure-sdk-for-python#8990",
    "Azure/azure-sdk-for-python#29618",
    "Azure/azure-sdk-for-python#33987",
    "Azure/azure-sdk-for-python#37545",
    "Azure/azure-sdk-for-python#39522",
    "Azure/azure-sdk-for-python#43969",
    "Azure/msrest-for-python#264",
    "AzureAD/microsoft-authentication-library-for-python#88",
    "encode/httpx#752",
    "encode/httpx#3493",
    "encode/httpx#3433",
    "encode/httpx#3221",
    "h2non/pook#122",
    "karpetrosyan/hishel#374",
    "django/asgiref#194",
    "microsoft/Agents-for-python#136",
    "microsoft/BotFramework-DirectLineJS#251",
    "microsoft/BotFramework-WebChat#2462",
    "microsoft/botbuilder-python#596",
    "microsoft/kiota-python#732",
    "openai/codex#2522",
    "openai/openai-python#350",
)


@cache
def answered() -> set[str]:
    """The reports that the docstrings of tests name."""
    functions = (
        node
        for path in Path(__file__).parent.glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )
    return {
        report
        for function in functions
        for report in re.findall(r"[\w-]+/[\w-]+#\d+", ast.get_docstring(function) or "")
    }


@pytest.mark.parametrize("report", REPORTS)
def test_each_report_has_a_test_that_answers_it(report: str) -> None:
    assert report in answered()

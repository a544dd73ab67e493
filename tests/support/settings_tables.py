"""Each setting with its default, texts that it takes and texts that it refuses, and what these mean."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from enlarger.config import (
    GROUPS,
    ApiKey,
    RateLimit,
    Settings,
    SigningKey,
)

HASH = "0123456789abcdef" * 4

DEFAULTS: dict[str, tuple[str, Any]] = {
    "MODEL_DIR": ("model_dir", Path("models")),
    "UPLOAD_FOLDER": ("upload_folder", Path("uploads")),
    "NUM_SERVERS": ("num_servers", None),
    "BASE_PORT": ("base_port", 5002),
    "MAX_FILE_SIZE": ("max_file_size_bytes", 7_340_032),
    "MAX_IMAGE_DIMENSION": ("max_image_dimension_px", 2048),
    "CLEANUP_INTERVAL": ("cleanup_interval_s", 300),
    "FILE_MAX_AGE": ("file_max_age_s", 300),
    "ENLARGER_MAX_OUTPUT_PIXELS": ("max_output_px", None),
    "ENLARGER_MAX_FRAMES": ("max_frames", 500),
    "ENLARGER_DEADLINE": ("deadline_s", None),
    "ENLARGER_QUEUE_LIMIT": ("queue_limit", 256),
    "ENLARGER_MAX_WAIT": ("max_wait_s", 600),
    "ENLARGER_SYNC_LIMIT": ("sync_limit_s", 90),
    "ENLARGER_JOBS_LIMIT": ("jobs_limit", 10_000),
    "ENLARGER_PICTURE_MEMORY": ("picture_memory_mib", 2048),
    "ENLARGER_PRECISION": ("precision", "auto"),
    "ENLARGER_LOG_LEVEL": ("log_level", "info"),
    "ENLARGER_LOG_FORMAT": ("log_format", "auto"),
    "ENLARGER_SERVER_MEMORY": ("server_memory_mib", 4096),
    "ENLARGER_SERVER_TILES": ("server_tiles", None),
    "ENLARGER_DRAIN": ("drain_s", 45),
    "ENLARGER_FETCH": ("fetch", "public"),
    "ENLARGER_API_KEYS": ("api_keys", ()),
    "ENLARGER_SIGNING_KEYS": ("signing_keys", ()),
    "ENLARGER_WEBHOOK_SECRETS": ("webhook_secrets", ()),
    "ENLARGER_RATE_LIMIT": ("rate_limit", None),
    "ENLARGER_CORS_ORIGINS": ("cors_origins", ()),
    "ENLARGER_TRUSTED_PROXIES": ("trusted_proxies", ()),
    "ENLARGER_PROXY_HEADER": ("proxy_header", "x-forwarded-for"),
    "ENLARGER_TILE_TOKEN": ("tile_token", None),
    "ENLARGER_PUBLIC_URL": ("public_url", None),
    "ENLARGER_MODEL_MEMORY": ("model_memory_mib", 3072),
    "ENLARGER_PAGE": ("page", "on"),
    "ENLARGER_PAGE_TITLE": ("page_title", "enlarger"),
    "ENLARGER_DEVICE": ("devices", ("auto",)),
    "ENLARGER_SERVERS": ("servers", ()),
    "ENLARGER_ENGINE": ("engine", "servers"),
    "ENLARGER_RAY_ADDRESS": ("ray_address", None),
    "ENLARGER_DATABASE": ("database", None),
    "ENLARGER_BLOBS": ("blobs", None),
    "ENLARGER_CACHE_DIR": ("cache_dir", None),
    "OTEL_EXPORTER_OTLP_ENDPOINT": ("otlp_endpoint", None),
    "OTEL_TRACES_EXPORTER": ("traces_exporter", None),
}
"""Attribute and default by variable: section 0 of the HTTP contract. None: unset, or ``auto``."""

GIVEN: dict[str, tuple[str, Any]] = {
    "MODEL_DIR": ("/srv/models", Path("/srv/models")),
    "UPLOAD_FOLDER": ("results/new", Path("results/new")),
    "NUM_SERVERS": ("12", 12),
    "BASE_PORT": ("0", 0),
    "MAX_FILE_SIZE": ("1", 1),
    "MAX_IMAGE_DIMENSION": ("4096", 4096),
    "CLEANUP_INTERVAL": ("0.5", 0.5),
    "FILE_MAX_AGE": ("86400", 86_400),
    "ENLARGER_MAX_OUTPUT_PIXELS": ("1000000", 1_000_000),
    "ENLARGER_MAX_FRAMES": ("12", 12),
    "ENLARGER_DEADLINE": ("90", 90),
    "ENLARGER_QUEUE_LIMIT": ("1", 1),
    "ENLARGER_MAX_WAIT": ("30.5", 30.5),
    "ENLARGER_SYNC_LIMIT": ("25.5", 25.5),
    "ENLARGER_JOBS_LIMIT": ("100000", 100_000),
    "ENLARGER_PICTURE_MEMORY": ("512", 512),
    "ENLARGER_PRECISION": ("bf16", "bf16"),
    "ENLARGER_LOG_LEVEL": ("WARNING", "warning"),
    "ENLARGER_LOG_FORMAT": ("Text", "text"),
    "ENLARGER_SERVER_MEMORY": ("800", 800),
    "ENLARGER_SERVER_TILES": ("1000", 1000),
    "ENLARGER_DRAIN": ("0", 0),
    "ENLARGER_API_KEYS": (
        f"alice:sha256-{HASH}, bob.2:sha256-{HASH},",
        (ApiKey("alice", HASH), ApiKey("bob.2", HASH)),
    ),
    "ENLARGER_SIGNING_KEYS": (
        "shop:sixteen-letters!, shop.2:a:colon/and=more+~,",
        (
            SigningKey("shop", SecretStr("sixteen-letters!")),
            SigningKey("shop.2", SecretStr("a:colon/and=more+~")),
        ),
    ),
    "ENLARGER_WEBHOOK_SECRETS": (
        f"whsec_{'A' * 32}, whsec_{'+/' * 42}AA==,",
        (SecretStr(f"whsec_{'A' * 32}"), SecretStr(f"whsec_{'+/' * 42}AA==")),
    ),
    "ENLARGER_RATE_LIMIT": ("500mp/60s", RateLimit(500, 60)),
    "ENLARGER_CORS_ORIGINS": (
        "https://a.example, http://localhost:3000",
        ("https://a.example", "http://localhost:3000"),
    ),
    "ENLARGER_TRUSTED_PROXIES": (
        "10.0.0.0/8, ::1",
        (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1/128")),
    ),
    "ENLARGER_PROXY_HEADER": (" Forwarded ", "forwarded"),
    "ENLARGER_TILE_TOKEN": ("sixteen letters!", SecretStr("sixteen letters!")),
    "ENLARGER_FETCH": ("off", "off"),
    "ENLARGER_PUBLIC_URL": ("https://pictures.example/up", "https://pictures.example/up"),
    "ENLARGER_MODEL_MEMORY": ("500", 500),
    "ENLARGER_PAGE": ("off", "off"),
    "ENLARGER_PAGE_TITLE": ("Grandma's <pictures>", "Grandma's <pictures>"),
    "ENLARGER_DEVICE": ("Vulkan:0, cpu", ("vulkan:0", "cpu")),
    "ENLARGER_SERVERS": ("one:5002,two:5003", ("one:5002", "two:5003")),
    "ENLARGER_ENGINE": (" Ray ", "ray"),
    "ENLARGER_RAY_ADDRESS": ("10.0.0.7:6379", "10.0.0.7:6379"),
    "ENLARGER_DATABASE": ("postgresql://up@db/jobs", "postgresql://up@db/jobs"),
    "ENLARGER_BLOBS": ("s3://bucket/jobs", "s3://bucket/jobs"),
    "ENLARGER_CACHE_DIR": ("/var/cache/enlarger", Path("/var/cache/enlarger")),
    "OTEL_EXPORTER_OTLP_ENDPOINT": ("http://collector:4318", "http://collector:4318"),
    "OTEL_TRACES_EXPORTER": ("none", "none"),
}
"""A text that each variable takes, and what it means."""

FETCH_UNCLEAR = ["true", "yes", "on", "1", "all", "Yes", " TRUE ", "true,a.example", "a, all"]
"""Words that could mean public addresses, or any address."""

FETCH_CONTRADICTIONS = ["none,10.0.0.0/8", "public, off", "a.example,False", "no,no"]
"""Lists that allow something and switch fetching off."""

WRONG = {
    "NUM_SERVERS": ["0", "-1", "2.5", "many", "", "nan"],
    "BASE_PORT": ["-1", "65536", "http", ""],
    "MAX_FILE_SIZE": ["0", "-5", "7MB", "1.5"],
    "MAX_IMAGE_DIMENSION": ["0", "-1", "2k"],
    "CLEANUP_INTERVAL": ["0", "-1", "5m", "nan", "inf"],
    "FILE_MAX_AGE": ["0", "-300", "never", "nan", "inf"],
    "ENLARGER_MAX_OUTPUT_PIXELS": ["0", "-1", "64MP"],
    "ENLARGER_MAX_FRAMES": ["0", "-1", "all"],
    "ENLARGER_DEADLINE": ["0", "-1", "soon", "nan", "inf"],
    "ENLARGER_QUEUE_LIMIT": ["0", "-1", "none"],
    "ENLARGER_MAX_WAIT": ["0", "-1", "long", "nan", "inf"],
    "ENLARGER_SYNC_LIMIT": ["0", "-1", "never", "nan", "inf"],
    "ENLARGER_JOBS_LIMIT": ["0", "-1", "many"],
    "ENLARGER_PICTURE_MEMORY": ["0", "-1", "2GB"],
    "ENLARGER_PRECISION": ["f64", "int4", "F32", ""],
    "ENLARGER_LOG_LEVEL": ["verbose", "warn", "20", ""],
    "ENLARGER_LOG_FORMAT": ["logfmt", "console", "true", ""],
    "ENLARGER_SERVER_MEMORY": ["0", "-1", "much", "1.5"],
    "ENLARGER_SERVER_TILES": ["0", "-1", "never", "1.5"],
    "ENLARGER_API_KEYS": [
        "alice",
        f"alice:{HASH}",
        f"alice:sha256-{HASH[1:]}",
        f"alice:sha256-{HASH.upper()}",
        f"a b:sha256-{HASH}",
        f":sha256-{HASH}",
        f"alice:sha256-{HASH};bob:sha256-{HASH}",
    ],
    "ENLARGER_SIGNING_KEYS": [
        "shop",
        "sixteen-letters!",
        "shop:fifteen-letters",
        ":sixteen-letters!",
        "a b:sixteen-letters!",
        "shop:sixteen letters!",
        "shop:sixteen-lettersé",
        "shop:sixteen-letters!,more:short",
    ],
    "ENLARGER_WEBHOOK_SECRETS": [
        "A" * 32,
        f"whsec_{'A' * 31}",
        f"whsec_{'A' * 28}",
        f"whsec_{'A' * 88}",
        f"whsec_{'-' * 32}",
        f"whsec_{'A' * 32};whsec_{'A' * 32}",
    ],
    "ENLARGER_RATE_LIMIT": [
        "500",
        "null",
        "",
        "500mp",
        "500mp/0s",
        "0mp/60s",
        "-1mp/60s",
        "500mp/60",
        "1e3mp/1s",
    ],
    "ENLARGER_CORS_ORIGINS": [
        "a.example",
        "null",
        "ftp://a.example",
        "https://",
        "https:a.example",
        "https://a.example/page",
        "https://a.example?x",
        "https://u@a.example",
        "https://*.example",
        "https://a.example:http",
        "https://a.example http://b.example",
        "*, https://a.example",
        "*,*",
    ],
    "ENLARGER_TRUSTED_PROXIES": [
        "proxy.example",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "10.0.0.1:443",
        "[::1]",
        "[::1]:443",
        "10.0.0.0/8, unknown",
        "*",
    ],
    "ENLARGER_PROXY_HEADER": ["", "x-real-ip", "x_forwarded_for", "forwarded, x-forwarded-for"],
    "ENLARGER_TILE_TOKEN": ["", "short", "ä" * 20, "sixteen letters!\n", " " * 20],
    "MODEL_DIR": [""],
    "UPLOAD_FOLDER": ["", " ", "gs://bucket", "s3:/bucket", "S3://bucket"],
    "ENLARGER_CACHE_DIR": [""],
    "ENLARGER_DRAIN": ["-1", "quick", "nan", "inf"],
    "ENLARGER_FETCH": [
        "",
        "a,,b",
        ",",
        "http://a",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "a b",
        "u@a",
        "*.example",
        "a/b",
        "fd00::1",
        "[fd00::1]",
        *FETCH_UNCLEAR,
        *FETCH_CONTRADICTIONS,
    ],
    "ENLARGER_MODEL_MEMORY": ["0", "-1", "much"],
    "ENLARGER_PAGE": ["none", "maybe"],
    "ENLARGER_PAGE_TITLE": ["x" * 61, " "],
    "ENLARGER_PUBLIC_URL": [
        *("example.com", "ftp://example.com", "https://", "https://a b"),
        *("https://a.example?x=1", "https://a.example/#top", "https://u:secret@a.example"),
        *("https://a.example:99999/x", "https://a.example/../x"),
    ],
    "ENLARGER_DEVICE": ["", "gpu", "auto,cpu", "openvino:TPU"],
    "ENLARGER_ENGINE": ["", "raylet", "servers,ray"],
    "ENLARGER_RAY_ADDRESS": ["", "local", "10.0.0.7", "ray://10.0.0.7:10001", "10.0.0.7:ray"],
    "ENLARGER_SERVERS": ["one", "one:", ":5002", "one:http", "a:1,b", "http://a:1", "a b:1"],
    "ENLARGER_DATABASE": ["", "mysql://db/jobs", "sqlite://jobs.sqlite3"],
    "ENLARGER_BLOBS": ["", "http://bucket.example", "gs://bucket", "s3:/bucket/prefix"],
}
"""Texts that each variable refuses."""

WRONG_PORTS = [
    ("ENLARGER_SERVERS", "one:0"),
    ("ENLARGER_SERVERS", "one:65536"),
    ("ENLARGER_FETCH", "one:http"),
    ("ENLARGER_FETCH", "one:0"),
    ("ENLARGER_FETCH", "one:65536"),
    ("ENLARGER_FETCH", ":0"),
    ("ENLARGER_FETCH", ":http"),
    ("ENLARGER_FETCH", ":"),
    ("ENLARGER_FETCH", ":²"),
]
"""Addresses that nothing can be reached under."""


def value_of(settings: Settings, attribute: str) -> Any:
    """A setting by its attribute, which no two groups share; the only one of ``fetch`` is called like the group."""
    if attribute == "fetch":
        return settings.fetch.rule
    group = next(name for name, group in GROUPS.items() if attribute in group.model_fields)
    return getattr(getattr(settings, group), attribute)

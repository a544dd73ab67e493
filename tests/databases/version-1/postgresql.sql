--
-- PostgreSQL database dump
--


-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: enlarger_batches; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.enlarger_batches (
    id text NOT NULL,
    owner text NOT NULL,
    request_id text NOT NULL,
    created_at double precision NOT NULL,
    webhook text,
    idempotency_key text,
    fingerprint text
);


--
-- Name: enlarger_deliveries; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.enlarger_deliveries (
    number bigint NOT NULL,
    id text NOT NULL,
    owner text NOT NULL,
    url text NOT NULL,
    type text NOT NULL,
    body text NOT NULL,
    created_at double precision NOT NULL,
    attempts integer NOT NULL,
    due_at double precision NOT NULL,
    holder text,
    leased_until double precision NOT NULL,
    ended_at double precision,
    outcome text
);


--
-- Name: enlarger_deliveries_number_seq; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.enlarger_deliveries_number_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: enlarger_deliveries_number_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: -
--

ALTER SEQUENCE public.enlarger_deliveries_number_seq OWNED BY public.enlarger_deliveries.number;


--
-- Name: enlarger_jobs; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.enlarger_jobs (
    number bigint NOT NULL,
    id text NOT NULL,
    owner text NOT NULL,
    caller text NOT NULL,
    state text NOT NULL,
    stage text,
    request_id text NOT NULL,
    created_at double precision NOT NULL,
    started_at double precision,
    finished_at double precision,
    expires_at double precision,
    not_before double precision NOT NULL,
    options json NOT NULL,
    source_url text,
    input json,
    mflop double precision,
    tiles_done integer NOT NULL,
    tiles_total integer,
    result json,
    file_name text,
    problem json,
    batch_id text,
    batch_index integer,
    item_id text,
    idempotency_key text,
    fingerprint text,
    webhook text,
    holder text,
    leased_until double precision NOT NULL,
    attempts integer NOT NULL,
    anew boolean NOT NULL
);


--
-- Name: enlarger_jobs_number_seq; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.enlarger_jobs_number_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: enlarger_jobs_number_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: -
--

ALTER SEQUENCE public.enlarger_jobs_number_seq OWNED BY public.enlarger_jobs.number;


--
-- Name: enlarger_schema; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.enlarger_schema (
    version integer NOT NULL
);


--
-- Name: enlarger_deliveries number; Type: DEFAULT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.enlarger_deliveries ALTER COLUMN number SET DEFAULT nextval('public.enlarger_deliveries_number_seq'::regclass);


--
-- Name: enlarger_jobs number; Type: DEFAULT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.enlarger_jobs ALTER COLUMN number SET DEFAULT nextval('public.enlarger_jobs_number_seq'::regclass);


--
-- Data for Name: enlarger_batches; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.enlarger_batches VALUES ('batch_9bcbb0e5ca0a195b439d1ea9f2985b41', 'key:alice', 'r-finished', 4320570518.640911, 'http://127.0.0.1:9/hook', 'k2', 'a9dd397f5871c471e0ac34a3d14e054ddbb09095889e93dd398dc4d914d420e1');
INSERT INTO public.enlarger_batches VALUES ('batch_5dde425f93d5c52b47f6afca104e25be', 'key:alice', 'r-1243f963ecd2b786', 4320570519.443743, NULL, NULL, NULL);


--
-- Data for Name: enlarger_deliveries; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.enlarger_deliveries VALUES (1, 'msg_job_0e23b51c2cb27873fd2713d5e8eb052a', 'key:alice', 'http://127.0.0.1:9/hook', 'job.succeeded', '{"type": "job.succeeded", "timestamp": "2106-11-30T14:28:38.407Z", "data": {"id": "job_0e23b51c2cb27873fd2713d5e8eb052a", "state": "succeeded", "stage": null, "created_at": "2106-11-30T14:28:38Z", "started_at": "2106-11-30T14:28:38Z", "finished_at": "2106-11-30T14:28:38Z", "expires_at": "2106-11-30T14:33:38Z", "progress": {"tiles_done": 1, "tiles_total": 1, "fraction": 1.0}, "queue": {"position": null, "length": 0}, "eta_s": null, "input": {"width": 30, "height": 20, "bytes": 1888, "format": "png"}, "result": {"url": "/files/d1aa6b30e3a73ed10141b208fbe9ec11.png", "expires_at": "2106-11-30T14:33:38Z", "media_type": "image/png", "bytes": 2749, "sha256": "b1fa3f57e8530d60ddc8e9a6e7e651a5d12b5f8d56d84adacefa9532ac3e90c3", "width": 120, "height": 80, "scale": 4.0, "model": "realesrgan-x4plus", "engine": "nearest", "precision": "f32", "tiles": {"total": 1, "servers": 1, "retried": 0, "repeated": {}, "reused": 0}, "kept": [], "notes": [], "cache": "miss", "color_delta": 0.0, "model_sha256": "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf", "timing_ms": {"fetch": 5, "queue": 0, "decode": 2, "infer": 5, "encode": 5, "total": 17}}, "error": null, "options": {"scale": 4.0, "fit": "inside", "model": "realesrgan-x4plus", "precision": "auto", "color_lock": true, "alpha_edge": "keep", "color": "keep", "metadata": "keep", "provenance": false, "format": "png"}, "links": {"self": "/v1/jobs/job_0e23b51c2cb27873fd2713d5e8eb052a", "events": "/v1/jobs/job_0e23b51c2cb27873fd2713d5e8eb052a/events", "result": "/v1/jobs/job_0e23b51c2cb27873fd2713d5e8eb052a/result"}, "request_id": "r-succeeded"}}', 4320570518.407457, 2, 4320570554.463171, NULL, 4320570554.442491, NULL, NULL);
INSERT INTO public.enlarger_deliveries VALUES (3, 'msg_batch_9bcbb0e5ca0a195b439d1ea9f2985b41', 'key:alice', 'http://127.0.0.1:9/hook', 'batch.finished', '{"type": "batch.finished", "timestamp": "2106-11-30T14:28:38.717Z", "data": {"id": "batch_9bcbb0e5ca0a195b439d1ea9f2985b41", "state": "finished", "created_at": "2106-11-30T14:28:38Z", "counts": {"queued": 0, "running": 0, "succeeded": 1, "failed": 3, "canceled": 0, "expired": 0}, "items": [{"index": 0, "id": "good", "job": "job_63ec84821083dccaf9d39e56636d705a", "state": "succeeded", "error": null, "result": {"url": "/files/6dfacfd73e458e496996d7fd005d6a37.jpg", "expires_at": "2106-11-30T14:33:38Z", "media_type": "image/jpeg", "bytes": 4701, "sha256": "dd4f43fdf2722b9057db5eea5ad9a6d268c5a7629babc8d22b3e2222e9f9cbb3", "width": 60, "height": 40, "scale": 2.0, "model": "realesrgan-x4plus", "engine": "nearest", "precision": "f32", "tiles": {"total": 1, "servers": 1, "retried": 0, "repeated": {}, "reused": 0}, "kept": [], "notes": [{"code": "resampled", "detail": "4x model, 2x result"}], "cache": "miss", "color_delta": 0.0, "model_sha256": "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf", "timing_ms": {"fetch": 1, "queue": 0, "decode": 1, "infer": 4, "encode": 4, "total": 11}}}, {"index": 1, "id": "faulty", "job": "job_9ab6262aa33583b4f4b4fbd3ea07b96a", "state": "failed", "error": {"type": "/errors/invalid_option", "title": "Invalid option", "status": 422, "detail": "Invalid scale: it must be at most 8", "instance": "/v1/jobs/job_9ab6262aa33583b4f4b4fbd3ea07b96a", "code": "invalid_option", "retryable": false, "request_id": "r-finished", "error": "Invalid scale: it must be at most 8", "errors": [{"option": "scale", "reason": "range", "detail": "it must be at most 8"}]}, "result": null}, {"index": 2, "id": "no picture", "job": "job_5ec89843fac90763b9137f63a1afbbae", "state": "failed", "error": {"type": "/errors/unsupported_format", "title": "Unsupported format", "status": 415, "detail": "not a picture of a format read here (png, jpeg, webp, bmp, tiff, gif, avif)", "instance": "/v1/jobs/job_5ec89843fac90763b9137f63a1afbbae", "code": "unsupported_format", "retryable": false, "request_id": "r-finished", "error": "not a picture of a format read here (png, jpeg, webp, bmp, tiff, gif, avif)"}, "result": null}, {"index": 3, "id": null, "job": "job_a308443f9a2376f81e1e3e5f77fa0a5b", "state": "failed", "error": {"type": "/errors/missing_input", "title": "Missing input", "status": 422, "detail": "img_url is required", "instance": "/v1/jobs/job_a308443f9a2376f81e1e3e5f77fa0a5b", "code": "missing_input", "retryable": false, "request_id": "r-finished", "error": "img_url is required"}, "result": null}], "links": {"self": "/v1/batches/batch_9bcbb0e5ca0a195b439d1ea9f2985b41", "events": "/v1/batches/batch_9bcbb0e5ca0a195b439d1ea9f2985b41/events", "results": "/v1/batches/batch_9bcbb0e5ca0a195b439d1ea9f2985b41/results.zip"}, "request_id": "r-finished"}}', 4320570518.717335, 2, 4320570554.483573, NULL, 4320570554.454865, NULL, NULL);
INSERT INTO public.enlarger_deliveries VALUES (6, 'msg_job_97479b99528880e2fb3f1ed46cd38d75', 'key:alice', 'http://127.0.0.1:9/hook', 'job.canceled', '{"type": "job.canceled", "timestamp": "2106-11-30T14:28:39.397Z", "data": {"id": "job_97479b99528880e2fb3f1ed46cd38d75", "state": "canceled", "stage": null, "created_at": "2106-11-30T14:28:39Z", "started_at": "2106-11-30T14:28:39Z", "finished_at": "2106-11-30T14:28:39Z", "expires_at": null, "progress": {"tiles_done": 0, "tiles_total": null, "fraction": 0.0}, "queue": {"position": null, "length": 0}, "eta_s": null, "input": {"width": 30, "height": 20, "bytes": 1888, "format": "png"}, "result": null, "error": null, "options": {"fit": "inside", "model": "realesrgan-x4plus", "precision": "auto", "color_lock": true, "alpha_edge": "keep", "color": "keep", "metadata": "keep", "provenance": false, "scale": 2, "format": "png"}, "links": {"self": "/v1/jobs/job_97479b99528880e2fb3f1ed46cd38d75", "events": "/v1/jobs/job_97479b99528880e2fb3f1ed46cd38d75/events", "result": "/v1/jobs/job_97479b99528880e2fb3f1ed46cd38d75/result"}, "request_id": "r-canceled"}}', 4320570519.397526, 2, 4320570554.501484, NULL, 4320570554.478201, NULL, NULL);
INSERT INTO public.enlarger_deliveries VALUES (5, 'msg_job_5f3fbe3807d79b88d369c439f54fa776', 'key:alice', 'http://127.0.0.1:9/hook', 'job.failed', '{"type": "job.failed", "timestamp": "2106-11-30T14:28:39.013Z", "data": {"id": "job_5f3fbe3807d79b88d369c439f54fa776", "state": "failed", "stage": null, "created_at": "2106-11-30T14:28:38Z", "started_at": "2106-11-30T14:28:38Z", "finished_at": "2106-11-30T14:28:39Z", "expires_at": null, "progress": {"tiles_done": 0, "tiles_total": null, "fraction": 0.0}, "queue": {"position": null, "length": 0}, "eta_s": null, "input": {"width": 30, "height": 20, "bytes": 1888, "format": "png"}, "result": null, "error": {"type": "/errors/engine_failed", "title": "Engine failed", "status": 500, "detail": "the runtime gave up", "instance": "/v1/jobs/job_5f3fbe3807d79b88d369c439f54fa776", "code": "engine_failed", "retryable": true, "request_id": "r-failed", "error": "the runtime gave up"}, "options": {"fit": "inside", "model": "realesrgan-x4plus", "precision": "auto", "color_lock": true, "alpha_edge": "keep", "color": "keep", "metadata": "keep", "provenance": false, "scale": 2, "format": "png"}, "links": {"self": "/v1/jobs/job_5f3fbe3807d79b88d369c439f54fa776", "events": "/v1/jobs/job_5f3fbe3807d79b88d369c439f54fa776/events", "result": "/v1/jobs/job_5f3fbe3807d79b88d369c439f54fa776/result"}, "request_id": "r-failed"}}', 4320570519.013691, 2, 4320570554.492749, NULL, 4320570554.465143, NULL, NULL);


--
-- Data for Name: enlarger_jobs; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.enlarger_jobs VALUES (1, 'job_0e23b51c2cb27873fd2713d5e8eb052a', 'key:alice', 'key:alice', 'succeeded', NULL, 'r-succeeded', 4320570518.329755, 4320570518.353927, 4320570518.39898, 4320570818.398971, 0, '{"scale": 4.0, "width": null, "height": null, "long_side": null, "short_side": null, "fit": "inside", "region": null, "model": "auto", "precision": "auto", "color_lock": true, "alpha_edge": "keep", "color": "keep", "format": null, "quality": null, "max_bytes": null, "frames": null, "background": null, "metadata": "keep", "provenance": false}', NULL, '{"width": 30, "height": 20, "bytes": 1888, "format": "png"}', 21512.2176, 1, 1, '{"result": {"media_type": "image/png", "bytes": 2749, "sha256": "b1fa3f57e8530d60ddc8e9a6e7e651a5d12b5f8d56d84adacefa9532ac3e90c3", "width": 120, "height": 80, "scale": 4.0}, "input": {"width": 30, "height": 20, "bytes": 1888, "format": "png"}, "model": "realesrgan-x4plus", "engine": "nearest", "precision": "f32", "tiles": {"total": 1, "servers": 1, "retried": 0, "repeated": {}, "reused": 0}, "kept": [], "notes": [], "cache": "miss", "color_delta": 0.0, "model_sha256": "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf", "timing_ms": {"fetch": 5, "queue": 0, "decode": 2, "infer": 5, "encode": 5, "total": 17}}', 'd1aa6b30e3a73ed10141b208fbe9ec11.png', NULL, NULL, NULL, NULL, 'k1', '499d5a1a8d700b14f58d7f2e80760e77c011506aac1c1872bc37c518459d0662', 'http://127.0.0.1:9/hook', 'd031bdf7e600ac24', 4320570533.353927, 1, false);
INSERT INTO public.enlarger_jobs VALUES (2, 'job_ebe013a1ab51f3a7a1b57afda92fe1df', 'key:alice', 'key:alice', 'succeeded', NULL, 'r-webp', 4320570518.394186, 4320570518.409597, 4320570518.46554, 4320570818.465535, 0, '{"scale": 2.0, "width": null, "height": null, "long_side": null, "short_side": null, "fit": "inside", "region": null, "model": "auto", "precision": "auto", "color_lock": true, "alpha_edge": "keep", "color": "keep", "format": "webp", "quality": null, "max_bytes": null, "frames": null, "background": null, "metadata": "keep", "provenance": false}', NULL, '{"width": 30, "height": 20, "bytes": 1888, "format": "png"}', 21512.2176, 1, 1, '{"result": {"media_type": "image/webp", "bytes": 2226, "sha256": "fd1788ac09efb5f7121cfb961f2a1194a5180e435a0ae92c8c35b48a4a52ecb6", "width": 60, "height": 40, "scale": 2.0}, "input": {"width": 30, "height": 20, "bytes": 1888, "format": "png"}, "model": "realesrgan-x4plus", "engine": "nearest", "precision": "f32", "tiles": {"total": 1, "servers": 1, "retried": 0, "repeated": {}, "reused": 0}, "kept": [], "notes": [{"code": "resampled", "detail": "4x model, 2x result"}], "cache": "miss", "color_delta": 0.0, "model_sha256": "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf", "timing_ms": {"fetch": 6, "queue": 0, "decode": 3, "infer": 8, "encode": 5, "total": 22}}', 'af542c8758ac278641a192262c0e76ba.webp', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'd031bdf7e600ac24', 4320570533.409597, 1, false);
INSERT INTO public.enlarger_jobs VALUES (3, 'job_1a28b95bdc1e7ea7f7b7b9f0d3db847c', 'key:alice', 'key:alice', 'succeeded', NULL, 'r-auto', 4320570518.452085, 4320570518.479533, 4320570518.534562, 4320570818.534556, 0, '{"scale": null, "width": null, "height": null, "long_side": 77, "short_side": null, "fit": "inside", "region": null, "model": "auto", "precision": "auto", "color_lock": true, "alpha_edge": "keep", "color": "keep", "format": "auto", "quality": null, "max_bytes": null, "frames": null, "background": null, "metadata": "keep", "provenance": false}', NULL, '{"width": 30, "height": 20, "bytes": 1888, "format": "png"}', 21512.2176, 1, 1, '{"result": {"media_type": "image/png", "bytes": 10093, "sha256": "c599a61ca013cfa23d12337cefcc0b3e44586c6c7438be2fdc45aa7f49a1f557", "width": 77, "height": 51, "scale": 2.566667}, "input": {"width": 30, "height": 20, "bytes": 1888, "format": "png"}, "model": "realesrgan-x4plus", "engine": "nearest", "precision": "f32", "tiles": {"total": 1, "servers": 1, "retried": 0, "repeated": {}, "reused": 0}, "kept": [], "notes": [{"code": "resampled", "detail": "4x model, 2.567x result"}], "cache": "miss", "color_delta": 0.0, "model_sha256": "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf", "timing_ms": {"fetch": 10, "queue": 1, "decode": 3, "infer": 12, "encode": 3, "total": 29}}', '682f7570c8f06cac6a884ea57103cba9.png', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'd031bdf7e600ac24', 4320570533.479533, 1, false);
INSERT INTO public.enlarger_jobs VALUES (4, 'job_f27edd8895cecf1f7ac0368c519a5809', 'key:alice', 'key:alice', 'succeeded', NULL, 'r-url', 4320570518.508985, 4320570518.516964, 4320570518.547349, 4320570818.547344, 0, '{"scale": 4.0, "width": null, "height": null, "long_side": null, "short_side": null, "fit": "inside", "region": [1, 2, 9, 8], "model": "auto", "precision": "auto", "color_lock": true, "alpha_edge": "keep", "color": "keep", "format": null, "quality": null, "max_bytes": null, "frames": null, "background": null, "metadata": "keep", "provenance": false}', 'http://127.0.0.1:42587/cat.png', '{"width": 30, "height": 20, "bytes": 1888, "format": "png"}', NULL, 1, 1, '{"result": {"media_type": "image/png", "bytes": 468, "sha256": "c86df0c3b42da7e1a627d27b859d269558237bf7bb46b32301cd825c374b73a5", "width": 36, "height": 32, "scale": 4.0}, "input": {"width": 30, "height": 20, "bytes": 1888, "format": "png"}, "model": "realesrgan-x4plus", "engine": "nearest", "precision": "f32", "tiles": {"total": 1, "servers": 1, "retried": 0, "repeated": {}, "reused": 0}, "kept": [], "notes": [], "cache": "miss", "color_delta": 0.0, "model_sha256": "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf", "timing_ms": {"fetch": 7, "queue": 0, "decode": 2, "infer": 6, "encode": 2, "total": 17}}', '598557e368b9ed5768e8b065bb8d8972.png', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'd031bdf7e600ac24', 4320570533.516964, 1, false);
INSERT INTO public.enlarger_jobs VALUES (5, 'job_36ea5312d63c74e1f38f16074d2b47e6', 'key:alice', 'key:alice', 'failed', NULL, 'r-refused', 4320570518.542069, 4320570518.544731, 4320570518.553912, NULL, 0, '{"scale": null, "width": null, "height": null, "long_side": null, "short_side": null, "fit": "inside", "region": null, "model": "auto", "precision": "auto", "color_lock": true, "alpha_edge": "keep", "color": "keep", "format": null, "quality": null, "max_bytes": null, "frames": null, "background": null, "metadata": "keep", "provenance": false}', 'http://127.0.0.1:42587/none.png', NULL, NULL, 0, NULL, NULL, NULL, '{"type": "/errors/source_refused", "title": "Source refused", "status": 422, "detail": "HTTP 404: Failed to download image", "instance": "urn:enlarger:request:r-refused", "code": "source_refused", "retryable": false, "request_id": "r-refused", "error": "HTTP 404: Failed to download image"}', NULL, NULL, NULL, NULL, NULL, NULL, 'd031bdf7e600ac24', 4320570533.544731, 1, false);
INSERT INTO public.enlarger_jobs VALUES (16, 'job_449b3b1866110f10e11c8d0d828459d4', 'key:alice', 'key:alice', 'running', 'infer', 'r-1243f963ecd2b786', 4320570519.443791, 4320570519.452433, NULL, NULL, 0, '{"scale": null, "width": null, "height": null, "long_side": null, "short_side": null, "fit": "inside", "region": null, "model": "auto", "precision": "auto", "color_lock": true, "alpha_edge": "keep", "color": "keep", "format": null, "quality": null, "max_bytes": null, "frames": null, "background": null, "metadata": "keep", "provenance": false}', NULL, '{"width": 30, "height": 20, "bytes": 1888, "format": "png"}', 21512.2176, 0, 1, NULL, NULL, NULL, 'batch_5dde425f93d5c52b47f6afca104e25be', 0, 'a', NULL, NULL, NULL, '91ecbf38651e9778', 4320570537.307344, 1, false);
INSERT INTO public.enlarger_jobs VALUES (6, 'job_082430b1df9c09e08f9b317ebbabc4bb', 'key:alice', 'key:alice', 'succeeded', NULL, 'r-untold', 4320570518.570105, 4320570518.577652, 4320570518.612468, 4320570818.612465, 0, '{"scale": null, "width": null, "height": null, "long_side": null, "short_side": null, "fit": "inside", "region": null, "model": "auto", "precision": "auto", "color_lock": true, "alpha_edge": "keep", "color": "keep", "format": null, "quality": null, "max_bytes": null, "frames": null, "background": null, "metadata": "keep", "provenance": false}', NULL, '{"width": 30, "height": 20, "bytes": 1888, "format": "png"}', 21512.2176, 1, 1, '{"result": {"media_type": "image/png", "bytes": 5648, "sha256": "f2b07040416d67110e470593248721ac86661b546c980fa4955846c28369153e", "width": 60, "height": 40, "scale": 2.0}, "input": {"width": 30, "height": 20, "bytes": 1888, "format": "png"}, "model": "realesrgan-x4plus", "engine": "nearest", "precision": "f32", "tiles": {"total": 1, "servers": 1, "retried": 0, "repeated": {}, "reused": 0}, "kept": [], "notes": [{"code": "resampled", "detail": "4x model, 2x result"}], "cache": "miss", "color_delta": 0.0, "model_sha256": "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf", "timing_ms": {"fetch": 2, "queue": 0, "decode": 3, "infer": 10, "encode": 3, "total": 18}}', '8ba63c7fb69649fd81407b043bea8100.png', NULL, NULL, NULL, NULL, NULL, NULL, 'http://127.0.0.1:9/hook', 'd031bdf7e600ac24', 4320570533.577652, 1, false);
INSERT INTO public.enlarger_jobs VALUES (9, 'job_9ab6262aa33583b4f4b4fbd3ea07b96a', 'key:alice', 'key:alice', 'failed', NULL, 'r-finished', 4320570518.6420355, NULL, 4320570518.6420355, NULL, 0, '{}', NULL, NULL, NULL, 0, NULL, NULL, NULL, '{"type": "/errors/invalid_option", "title": "Invalid option", "status": 422, "detail": "Invalid scale: it must be at most 8", "instance": "urn:enlarger:request:r-finished", "code": "invalid_option", "retryable": false, "request_id": "r-finished", "error": "Invalid scale: it must be at most 8", "errors": [{"option": "scale", "reason": "range", "detail": "it must be at most 8"}]}', 'batch_9bcbb0e5ca0a195b439d1ea9f2985b41', 1, 'faulty', NULL, NULL, NULL, NULL, 0, 0, false);
INSERT INTO public.enlarger_jobs VALUES (10, 'job_5ec89843fac90763b9137f63a1afbbae', 'key:alice', 'key:alice', 'failed', NULL, 'r-finished', 4320570518.676178, NULL, 4320570518.676178, NULL, 0, '{}', NULL, NULL, NULL, 0, NULL, NULL, NULL, '{"type": "/errors/unsupported_format", "title": "Unsupported format", "status": 415, "detail": "not a picture of a format read here (png, jpeg, webp, bmp, tiff, gif, avif)", "instance": "urn:enlarger:request:r-finished", "code": "unsupported_format", "retryable": false, "request_id": "r-finished", "error": "not a picture of a format read here (png, jpeg, webp, bmp, tiff, gif, avif)"}', 'batch_9bcbb0e5ca0a195b439d1ea9f2985b41', 2, 'no picture', NULL, NULL, NULL, NULL, 0, 0, false);
INSERT INTO public.enlarger_jobs VALUES (11, 'job_a308443f9a2376f81e1e3e5f77fa0a5b', 'key:alice', 'key:alice', 'failed', NULL, 'r-finished', 4320570518.676241, NULL, 4320570518.676241, NULL, 0, '{}', NULL, NULL, NULL, 0, NULL, NULL, NULL, '{"type": "/errors/missing_input", "title": "Missing input", "status": 422, "detail": "img_url is required", "instance": "urn:enlarger:request:r-finished", "code": "missing_input", "retryable": false, "request_id": "r-finished", "error": "img_url is required"}', 'batch_9bcbb0e5ca0a195b439d1ea9f2985b41', 3, NULL, NULL, NULL, NULL, NULL, 0, 0, false);
INSERT INTO public.enlarger_jobs VALUES (8, 'job_63ec84821083dccaf9d39e56636d705a', 'key:alice', 'key:alice', 'succeeded', NULL, 'r-finished', 4320570518.640938, 4320570518.6933155, 4320570518.7086735, 4320570818.70867, 0, '{"scale": null, "width": null, "height": null, "long_side": null, "short_side": null, "fit": "inside", "region": null, "model": "auto", "precision": "auto", "color_lock": true, "alpha_edge": "keep", "color": "keep", "format": "jpeg", "quality": null, "max_bytes": null, "frames": null, "background": null, "metadata": "keep", "provenance": false}', NULL, '{"width": 30, "height": 20, "bytes": 1888, "format": "png"}', 21512.2176, 1, 1, '{"result": {"media_type": "image/jpeg", "bytes": 4701, "sha256": "dd4f43fdf2722b9057db5eea5ad9a6d268c5a7629babc8d22b3e2222e9f9cbb3", "width": 60, "height": 40, "scale": 2.0}, "input": {"width": 30, "height": 20, "bytes": 1888, "format": "png"}, "model": "realesrgan-x4plus", "engine": "nearest", "precision": "f32", "tiles": {"total": 1, "servers": 1, "retried": 0, "repeated": {}, "reused": 0}, "kept": [], "notes": [{"code": "resampled", "detail": "4x model, 2x result"}], "cache": "miss", "color_delta": 0.0, "model_sha256": "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf", "timing_ms": {"fetch": 1, "queue": 0, "decode": 1, "infer": 4, "encode": 4, "total": 11}}', '6dfacfd73e458e496996d7fd005d6a37.jpg', NULL, 'batch_9bcbb0e5ca0a195b439d1ea9f2985b41', 0, 'good', NULL, NULL, NULL, 'd031bdf7e600ac24', 4320570533.6933155, 1, false);
INSERT INTO public.enlarger_jobs VALUES (7, 'job_38bb960155dd2b732941ce58f559ee37', 'key:alice', 'key:alice', 'expired', NULL, 'r-expired', 4320570518.595992, 4320570518.614243, 4320570518.6395, 4320570818.639496, 0, '{"scale": 4.0, "width": null, "height": null, "long_side": null, "short_side": null, "fit": "inside", "region": null, "model": "auto", "precision": "auto", "color_lock": true, "alpha_edge": "keep", "color": "keep", "format": null, "quality": null, "max_bytes": null, "frames": null, "background": null, "metadata": "keep", "provenance": false}', NULL, '{"width": 30, "height": 20, "bytes": 1888, "format": "png"}', 21512.2176, 1, 1, '{"result": {"media_type": "image/png", "bytes": 2750, "sha256": "6810f6ef72e03ef65331f204285be16af66d4243804c3c4e1a0618d4e001f77d", "width": 120, "height": 80, "scale": 4.0}, "input": {"width": 30, "height": 20, "bytes": 1888, "format": "png"}, "model": "realesrgan-x4plus", "engine": "nearest", "precision": "f32", "tiles": {"total": 1, "servers": 1, "retried": 0, "repeated": {}, "reused": 0}, "kept": [], "notes": [], "cache": "miss", "color_delta": 0.0, "model_sha256": "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf", "timing_ms": {"fetch": 2, "queue": 0, "decode": 1, "infer": 3, "encode": 5, "total": 12}}', 'f52b7eb8508f93cee1064f085cd9db37.png', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'd031bdf7e600ac24', 4320570533.614243, 1, false);
INSERT INTO public.enlarger_jobs VALUES (12, 'job_5f3fbe3807d79b88d369c439f54fa776', 'key:alice', 'key:alice', 'failed', NULL, 'r-failed', 4320570518.976884, 4320570518.992196, 4320570519.00696, NULL, 0, '{"scale": null, "width": null, "height": null, "long_side": null, "short_side": null, "fit": "inside", "region": null, "model": "auto", "precision": "auto", "color_lock": true, "alpha_edge": "keep", "color": "keep", "format": null, "quality": null, "max_bytes": null, "frames": null, "background": null, "metadata": "keep", "provenance": false}', NULL, '{"width": 30, "height": 20, "bytes": 1888, "format": "png"}', 21512.2176, 0, NULL, NULL, NULL, '{"type": "/errors/engine_failed", "title": "Engine failed", "status": 500, "detail": "the runtime gave up", "instance": "urn:enlarger:request:r-failed", "code": "engine_failed", "retryable": true, "request_id": "r-failed", "error": "the runtime gave up"}', NULL, NULL, NULL, NULL, NULL, 'http://127.0.0.1:9/hook', '78726289eb5edad6', 4320570533.992196, 1, false);
INSERT INTO public.enlarger_jobs VALUES (13, 'job_bcf8a00961045a567455e42d3a78487b', 'key:alice', 'key:alice', 'failed', NULL, 'r-large', 4320570519.198774, 4320570519.204798, 4320570519.224307, NULL, 0, '{"scale": null, "width": null, "height": null, "long_side": null, "short_side": null, "fit": "inside", "region": null, "model": "auto", "precision": "auto", "color_lock": true, "alpha_edge": "keep", "color": "keep", "format": null, "quality": null, "max_bytes": null, "frames": null, "background": null, "metadata": "keep", "provenance": false}', 'http://127.0.0.1:42587/cat.png', NULL, NULL, 0, NULL, NULL, NULL, '{"type": "/errors/image_too_large", "title": "Image too large", "status": 413, "detail": "Image dimensions too large: 30x20 (max: 25)", "instance": "urn:enlarger:request:r-large", "code": "image_too_large", "retryable": false, "request_id": "r-large", "error": "Image dimensions too large: 30x20 (max: 25)", "limit": 25, "actual": 30}', NULL, NULL, NULL, NULL, NULL, NULL, 'b3d47c8b0a9521b0', 4320570534.204798, 1, false);
INSERT INTO public.enlarger_jobs VALUES (14, 'job_97479b99528880e2fb3f1ed46cd38d75', 'key:alice', 'key:alice', 'canceled', NULL, 'r-canceled', 4320570519.353652, 4320570519.363606, 4320570519.382839, NULL, 0, '{"scale": null, "width": null, "height": null, "long_side": null, "short_side": null, "fit": "inside", "region": null, "model": "auto", "precision": "auto", "color_lock": true, "alpha_edge": "keep", "color": "keep", "format": null, "quality": null, "max_bytes": null, "frames": null, "background": null, "metadata": "keep", "provenance": false}', NULL, '{"width": 30, "height": 20, "bytes": 1888, "format": "png"}', 21512.2176, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'http://127.0.0.1:9/hook', '91ecbf38651e9778', 4320570534.363606, 1, false);
INSERT INTO public.enlarger_jobs VALUES (17, 'job_e2755e66f74174df1ecf934401f1417a', 'key:alice', 'key:alice', 'queued', NULL, 'r-1243f963ecd2b786', 4320570519.444769, NULL, NULL, NULL, 0, '{"scale": null, "width": null, "height": null, "long_side": null, "short_side": null, "fit": "inside", "region": null, "model": "auto", "precision": "auto", "color_lock": true, "alpha_edge": "keep", "color": "keep", "format": null, "quality": null, "max_bytes": null, "frames": null, "background": null, "metadata": "keep", "provenance": false}', NULL, '{"width": 30, "height": 20, "bytes": 1888, "format": "png"}', 21512.2176, 0, NULL, NULL, NULL, NULL, 'batch_5dde425f93d5c52b47f6afca104e25be', 1, NULL, NULL, NULL, NULL, NULL, 0, 0, false);
INSERT INTO public.enlarger_jobs VALUES (19, 'job_69948cf7bb4819bc82593ff86923f19a', 'key:alice', 'key:alice', 'queued', NULL, 'r-queued', 4320570519.474991, NULL, NULL, NULL, 0, '{"scale": null, "width": null, "height": null, "long_side": null, "short_side": null, "fit": "inside", "region": null, "model": "auto", "precision": "auto", "color_lock": true, "alpha_edge": "keep", "color": "keep", "format": "auto", "quality": null, "max_bytes": null, "frames": null, "background": null, "metadata": "keep", "provenance": false}', NULL, '{"width": 30, "height": 20, "bytes": 1888, "format": "png"}', 21512.2176, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'k4', 'b992bf4998a37fa341640bb74d9a86999c65ecb4f6a0daf13291818294de76dc', 'http://127.0.0.1:9/hook', NULL, 0, 0, false);
INSERT INTO public.enlarger_jobs VALUES (20, 'job_c9a38a7a826ecefee9edfb0393d98a06', 'key:alice', 'key:alice', 'queued', NULL, 'r-428f7c4b3a68b1a2', 4320570519.492547, NULL, NULL, NULL, 0, '{"scale": null, "width": null, "height": null, "long_side": null, "short_side": null, "fit": "inside", "region": null, "model": "auto", "precision": "auto", "color_lock": true, "alpha_edge": "keep", "color": "keep", "format": null, "quality": null, "max_bytes": null, "frames": null, "background": null, "metadata": "keep", "provenance": false}', 'http://127.0.0.1:42587/cat.png', NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, false);
INSERT INTO public.enlarger_jobs VALUES (15, 'job_0fca565b84954d3720ff759fd20c87d6', 'key:alice', 'key:alice', 'running', 'infer', 'r-running', 4320570519.421083, 4320570519.426302, NULL, NULL, 0, '{"scale": 4.0, "width": null, "height": null, "long_side": null, "short_side": null, "fit": "inside", "region": null, "model": "auto", "precision": "auto", "color_lock": true, "alpha_edge": "keep", "color": "keep", "format": null, "quality": null, "max_bytes": null, "frames": null, "background": null, "metadata": "keep", "provenance": false}', NULL, '{"width": 300, "height": 20, "bytes": 18088, "format": "png"}', 255278.31552, 1, 2, NULL, NULL, NULL, NULL, NULL, NULL, 'k3', '6ed58cf2711cf3e914e0674e5a6bb34c9486d1f4294aca2a912d7c1525df9c63', NULL, '91ecbf38651e9778', 4320570537.307344, 1, false);
INSERT INTO public.enlarger_jobs VALUES (18, 'job_3e5a36fafdaab701a2c4dcd0c777920d', 'key:alice', 'key:alice', 'running', 'infer', 'r-1243f963ecd2b786', 4320570519.445416, 4320570519.455338, NULL, NULL, 0, '{"scale": null, "width": null, "height": null, "long_side": null, "short_side": null, "fit": "inside", "region": null, "model": "auto", "precision": "auto", "color_lock": true, "alpha_edge": "keep", "color": "keep", "format": null, "quality": null, "max_bytes": null, "frames": null, "background": null, "metadata": "keep", "provenance": false}', 'http://127.0.0.1:42587/cat.png', '{"width": 30, "height": 20, "bytes": 1888, "format": "png"}', 21512.2176, 0, 1, NULL, NULL, NULL, 'batch_5dde425f93d5c52b47f6afca104e25be', 2, NULL, NULL, NULL, NULL, '91ecbf38651e9778', 4320570537.307344, 1, false);


--
-- Data for Name: enlarger_schema; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.enlarger_schema VALUES (1);


--
-- Name: enlarger_deliveries_number_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.enlarger_deliveries_number_seq', 6, true);


--
-- Name: enlarger_jobs_number_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.enlarger_jobs_number_seq', 20, true);


--
-- Name: enlarger_batches enlarger_batches_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.enlarger_batches
    ADD CONSTRAINT enlarger_batches_pkey PRIMARY KEY (id);


--
-- Name: enlarger_deliveries enlarger_deliveries_id_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.enlarger_deliveries
    ADD CONSTRAINT enlarger_deliveries_id_key UNIQUE (id);


--
-- Name: enlarger_deliveries enlarger_deliveries_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.enlarger_deliveries
    ADD CONSTRAINT enlarger_deliveries_pkey PRIMARY KEY (number);


--
-- Name: enlarger_jobs enlarger_jobs_id_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.enlarger_jobs
    ADD CONSTRAINT enlarger_jobs_id_key UNIQUE (id);


--
-- Name: enlarger_jobs enlarger_jobs_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.enlarger_jobs
    ADD CONSTRAINT enlarger_jobs_pkey PRIMARY KEY (number);


--
-- Name: enlarger_batches_key; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX enlarger_batches_key ON public.enlarger_batches USING btree (owner, idempotency_key);


--
-- Name: enlarger_deliveries_due; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX enlarger_deliveries_due ON public.enlarger_deliveries USING btree (ended_at, due_at);


--
-- Name: enlarger_jobs_batch; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX enlarger_jobs_batch ON public.enlarger_jobs USING btree (batch_id);


--
-- Name: enlarger_jobs_file_name; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX enlarger_jobs_file_name ON public.enlarger_jobs USING btree (file_name);


--
-- Name: enlarger_jobs_key; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX enlarger_jobs_key ON public.enlarger_jobs USING btree (owner, idempotency_key);


--
-- Name: enlarger_jobs_state; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX enlarger_jobs_state ON public.enlarger_jobs USING btree (state, number);


--
-- PostgreSQL database dump complete
--



"""Tests of what operators install: the image, the units, the chart, the proxies and the monitoring."""

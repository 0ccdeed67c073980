"""Tests of the installations of other ACME clients."""

"""The registry: releases in MLflow, their stages, promotion and rollback."""

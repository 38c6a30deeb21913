"""The gate: the rules a challenger must pass, and the page that shows the verdict."""

"""The Django application: it can be imported only where Django is configured, see `serve`."""

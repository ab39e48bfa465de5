"""From a scenario to a run's folder: what a run needs is started, driven, watched and ended here."""

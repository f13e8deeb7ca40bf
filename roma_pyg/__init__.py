"""ROMA: neural operators that learn dynamics on graphs together with how they coarse-grain.

Five lines to a forecast::

    import roma_pyg

    model = roma_pyg.load("runs/quickstart")
    series = roma_pyg.open_series("data/km5k")
    forecast = model.forecast(series, horizon=64)
    supernodes = model.supernodes(series)
"""

"""A trained model over HTTP: uploads with limits, processes that hold the model, a JSON endpoint and a page to try it."""

SELECT secret FROM feed

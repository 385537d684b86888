"""The page: files as they are, plain ES modules without a build step."""

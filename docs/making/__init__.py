"""What the site's pages are made of where they are made from the code: mkdocs.yml names hook.py."""

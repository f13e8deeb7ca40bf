"""The programs that the tests of this folder start are no modules to look for examples in."""

collect_ignore_glob = ["*driver.py"]

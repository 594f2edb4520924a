"""Published test suites, fetched once by their digest. Running them is `finetune.evaluate`'s matter."""

# Two commands: `make demo` runs a day of the three jobs, `make test` passes every check.
PYTHON ?= python3
JOBS = setup demo test test-anvil lint format gas abi coverage

.PHONY: $(JOBS) clean
$(JOBS):
	@$(PYTHON) scripts/bootstrap.py $@ $(ARGS)

clean:
	rm -rf .venv .toolchain node_modules build

"""Lines to break, and the tests that must notice: memory that runs out, blocks brought in, streams let go (:mod:`tests.mutations`)."""

from tests.broken_lines import Mutation

MUTATIONS: list[Mutation] = [
    ("harness/batching.py", "            start = rows.stop\n", "            start = rows.stop + 1\n", "test_batching"),
    ("harness/batching.py", "        self._sizes[work] = tried // 2\n", "        self._sizes[work] = tried - 1\n", "test_batching"),
    (
        "harness/batching.py",
        "        self._keep(work, tried // 2)\n",
        "        pass\n",
        "test_batching::test_the_next_run_starts_with_the_windows_that_fitted",
    ),
    (
        "harness/sweep.py",
        "        if (split, rows.start, rows.stop) not in calls:",
        "        if (split, rows.start, rows.stop) in calls:",
        "test_batching",
    ),
    (
        "harness/sweep.py",
        "        raise TooManyTogetherError(described(error)) from None\n",
        "        pass\n",
        "test_batching::test_a_visitor_that_runs_out_of_memory_is_made_anew",
    ),
    (
        "harness/sweep.py",
        "                streams[split][rows] = after\n",
        "                streams[split][rows.start] = after[0]\n",
        "test_sweep::test_visitors_see_the_models_own_stream",
    ),
    (
        "harness/branches.py",
        "            final[batch] = stream\n",
        "            final[batch] += stream\n",
        "test_interventions::test_a_branch_ends_where_the_models_own_forward_ends",
    ),
    (
        "harness/onloading.py",
        "        self._let_go()\n        # Outside",
        "        # Outside",
        "test_onloading::test_a_sweep_brings_every_block_in_once_and_one_at_a_time",
    ),
    (
        "harness/destroyed_block.py",
        "        self.anatomy.bring(self.block)\n",
        "",
        "test_onloading::test_weights_that_are_replaced_are_brought_in_first_and_are_whole_afterwards",
    ),
    (
        "harness/layer_inputs.py",
        "            self._places[block] = places(self._weights[block])\n",
        "",
        "test_onloading::test_weights_that_are_replaced_are_brought_in_first_and_are_whole_afterwards",
    ),
    ("harness/sweep.py", "need > MOMENTS_SHARE * free", "need < MOMENTS_SHARE * free", "test_device_memory"),
    (
        "harness/measuring.py",
        "each.keeps and each.layout == layout and each.name not in known",
        "each.keeps and each.name not in known",
        "test_dropped_streams::test_in_another_order_they_live_as_long_as_they_are_needed",
    ),
    (
        "harness/bookmark.py",
        "            if not isinstance(error, MemoryShortageError):\n",
        "            if isinstance(error, MeasurementError):\n",
        "test_memory_between_runs",
    ),
]

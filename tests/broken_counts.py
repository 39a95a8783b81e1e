"""Lines to break, and the tests that must notice: false verdicts and power, as they are counted (:mod:`tests.mutations`)."""

from tests.broken_lines import Mutation

_CASE = "test_false_verdicts::"
MUTATIONS: list[Mutation] = [
    (file, line, broken, _CASE + test)
    for file, line, broken, test in (
        ("tests/false_verdicts.py", "count + 1, total - count))", "count, total - count))", "test_the_interval_of_a_rate_is_the_exact_one"),
        (
            "tests/false_verdicts.py",
            "if mean > 2 * math.sqrt(spread / len(below)) else None",
            "if mean > 0 else None",
            "test_a_ratio_of_costs_needs_a_cost_to_divide_by",
        ),
        (
            "tests/false_verdicts.py",
            "bound.judge(self.least, self.least)[0] is Verdict.HOLDS",
            "bound.judge(self.figure, self.figure)[0] is Verdict.HOLDS",
            "test_what_stands_for_all_layers_holds_only_where_every_layer_does",
        ),
        ("tests/false_verdicts.py", "return {found} - {Verdict.INCONCLUSIVE}", "return {found}", "test_at_most_one_verdict_is_true"),
        (
            "tests/false_verdicts.py",
            "return origin + math.exp(math.fsum(math.log(value - origin) for value in values) / len(values))",
            "return math.fsum(values) / len(values)",
            "test_ratios_have_their_mean_on_the_log_scale",
        ),
        (
            "tests/false_verdicts.py",
            "least = min(part for",
            "least = max(part for",
            "test_truth_is_the_mean_of_the_seeds_that_share_weights",
        ),
        (
            "tests/false_verdicts.py",
            "return self.parts[gaps.index(min(gaps))]",
            "return self.figure",
            "test_an_interval_of_one_layer_is_to_cover_that_layer",
        ),
        (
            "tests/false_verdicts.py",
            "self.false += decided and row",
            "self.false += row",
            "test_false_verdicts_are_counted_as_they_are_defined",
        ),
        (
            "tests/false_verdicts.py",
            'counts[1] += row["low"] >',
            'counts[1] += row["high"] >',
            "test_false_verdicts_are_counted_as_they_are_defined",
        ),
        (
            "tests/false_verdicts.py",
            '*([] if row["doubted"] else [self.worst["judged"]])',
            'self.worst["judged"]',
            "test_doubt_keeps_a_row_from_the_second_count_alone",
        ),
        (
            "tests/false_verdicts.py",
            "    if null.models is None or by_construction is not None:",
            "    if True:",
            "test_weights_of_their_own_have_truths_of_their_own",
        ),
        (
            "tests/null_subjects.py",
            "(2 * (1 - share) * config.step) ** 0.5",
            "(2 * config.step) ** 0.5",
            "test_what_barely_rises_rises_at_every_block",
        ),
        ("tests/null_subjects.py", "return 2**0.5 * sines - hidden", "return 2**0.5 * sines", "test_a_null_is_what_it_says"),
        ("tests/null_subjects.py", "RADIANS = 5.0", "RADIANS = 1.0", "test_a_null_is_what_it_says"),
        ("tests/simulated.py", "if not doubt.startswith(FEWER_STEPS)", "if doubt", "test_one_seed_goes_through_all_predicates"),
        (
            "tests/simulated.py",
            "                if (kind, name, seed) in done:",
            "                if False:",
            "test_one_seed_goes_through_all_predicates",
        ),
        (
            "tests/simulated.py",
            "        except json.JSONDecodeError:\n            continue",
            "        except json.JSONDecodeError:\n            raise",
            "test_an_unfinished_line_is_run_again",
        ),
        (
            "tests/false_verdict_tables.py",
            'if row["verdict"] == row["expected"] else',
            'if row["verdict"] == "holds" and row["expected"] else',
            "test_a_plant_is_counted_by_what_was_planted",
        ),
    )
]

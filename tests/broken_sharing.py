"""Lines to break, and the tests that must notice: sweeps that are shared, passes that are needed, memory that is kept."""

from tests.broken_lines import Mutation

MUTATIONS: list[Mutation] = [
    ("harness/sharing.py", "brought = {other.name for each in every for other in each.brings}", "brought = set[str]()", "test_sharing"),
    ("harness/sharing.py", "found.setdefault(each.code, each)", "found[each.name] = each", "test_sharing"),
    ("harness/sharing.py", "each.layout == layout and", "", "test_sharing"),
    (
        "harness/visits.py",
        "        if split in self._splits:\n            self._visitor.see(",
        "        if True:\n            self._visitor.see(",
        "test_visits::test_a_visitor_is_shown_its_splits_alone",
    ),
    (
        "harness/visits.py",
        "for visit in self._visits], begun == 0",
        "for visit in self._visits], True",
        "test_visits::test_a_shared_sweep_is_taken_up_where_it_was",
    ),
    (
        "harness/measuring.py",
        "        if streams is not None:\n",
        "        if False:\n",
        "test_visits::test_one_sweep_serves_all_that_visit_it_and_the_streams",
    ),
    ("reports/plan.py", "        self.seconds -= saved\n", "", "test_plan"),
    ("reports/plan.py", " - (len(names) - 1) * sweep.memory)", ")", "test_plan"),
    ("harness/__init__.py", "prepare()  #", "prepare  #", "test_allocation"),
    ("harness/allocation.py", "mallopt(_M_ARENA_MAX, 1)", "pass", "test_allocation"),
    ("harness/language.py", "self._variants = max(1, most // self._chunk)", "self._variants = 1", "test_language"),
    ("benchmarks/passes.py", "start = v.mid(b) if self.strict else v.range(b)[0]", "start = v.mid(b)", "test_passes"),
    ("benchmarks/passes.py", "self.heads + 3 * self.steps", "self.heads + 2 * self.steps", "test_passes"),
    ("benchmarks/engine.py", "return math.inf if math.isnan(found) else found", "return found", "test_passes"),
    ("harness/measuring.py", '"beside": keys[1:]', '"beside": []', "test_visits::test_a_shared_sweep_is_not_taken_up_under_another_seed"),
    (
        "harness/measuring.py",
        "        except Exception as error:  # Whoever fails",
        "        except MeasurementError as error:  # Whoever fails",
        "test_visits::test_what_fails_takes_nothing_else_with_it",
    ),
    (
        "harness/measuring.py",
        "if keeps or any(split in member.needs() for member in members)",
        "if True",
        "test_visits::test_nothing_is_swept_for_streams_that_nobody_wants",
    ),
    ("reports/workers.py", "            died[0][died[1]] = True\n", "            pass\n", "test_sweep_interrupted"),
]

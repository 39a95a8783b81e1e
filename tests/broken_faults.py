"""Lines to break, and the tests that must notice: what faults leave, and files of which a bit has flipped (:mod:`tests.mutations`)."""

from tests.broken_lines import Mutation

MUTATIONS: list[Mutation] = [
    (
        "harness/store.py",
        'header.get("format") != FORMAT or ',
        "",
        "test_older_stores::test_an_entry_of_another_format_is_set_aside_and_says_so",
    ),
    ("harness/store.py", " or set(header) != _HEADER", "", "test_older_stores::test_an_entry_of_another_format_is_set_aside_and_says_so"),
    (
        "harness/atomic.py",
        "    remove_abandoned_parts(file.parent, file.name)\n    handle, name",
        "    handle, name",
        "test_killed::test_parts_of_killed_writers_do_not_pile_up",
    ),
    (
        "harness/atomic.py",
        "remove_abandoned_parts(file.parent, file.name)  # A",
        "# A",
        "test_killed::test_parts_of_killed_writers_do_not_pile_up",
    ),
    (
        "harness/measuring.py",
        "store.drop(unfinished(self._key(measurement, ids)))",
        "pass",
        "test_killed::test_a_store_whose_runs_are_killed_one_after_another_ends_with_equal_rows",
    ),
    ("harness/token_table.py", ", write_page_checksum=True", "", "test_flipped_bits::test_a_flipped_bit_in_the_pages_of_a_table_is_seen"),
    (
        "reports/bundle_file.py",
        "atomic.write(folder / MANIFEST, _rendered(whole))",
        "(folder / MANIFEST).write_bytes(_rendered(whole))",
        "test_full_disk::test_every_write_of_a_run_may_find_the_disk_full",
    ),
    ("reports/report_file.py", "    whole[NAME] = digest(whole)\n", "", "test_flipped_bits::test_a_report_of_a_run_carries_its_digest"),
    (
        "reports/document.py",
        "if isinstance(contents, dict) and not fits(contents):",
        "if False:",
        "test_flipped_bits::test_a_flipped_bit_in_a_report_gives_no_other_figure",
    ),
    (
        "reports/digest.py",
        "except (ValueError, RecursionError):",
        "except KeyError:",
        "test_flipped_bits::test_a_number_beyond_all_is_refused",
    ),
    ("reports/digest.py", "if name != NAME}", "}", "test_flipped_bits::test_the_digest_is_over_the_contents_and_nothing_else"),
]

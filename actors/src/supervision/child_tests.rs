use dmnode_model::config::CheckerConfig;

use super::*;

const MS: Duration = Duration::from_millis(1);

fn limits() -> SupervisionLimits {
    SupervisionLimits {
        hang_limit: 100 * MS,
        abort_grace: 10 * MS,
        healthy_after: 1000 * MS,
        ..Default::default()
    }
}

struct Clock(Instant);

impl Clock {
    fn at(&self, ms: u32) -> Instant {
        self.0 + MS * ms
    }
}

fn running(token: u64) -> (Child, Clock) {
    let clock = Clock(Instant::now());
    let (child, effects) = Child::new(limits(), Wish::Run { token }, Deaths::default(), clock.at(0));
    assert_eq!(effects, [Effect::Spawn]);
    assert_eq!(child.stage(), Stage::Running);
    (child, clock)
}

fn failed(code: u32) -> Exit {
    Exit::Failed(CodedError::new(code, "x"))
}

#[test]
fn a_panic_an_error_and_a_hang_end_the_same_way_and_are_counted_apart() {
    let (mut child, clock) = running(1);
    assert_eq!(child.exited(Exit::Panicked("boom".into()), 0.0, clock.at(10)), []);
    assert_eq!(child.stage(), Stage::Resuming);
    assert_eq!(child.tick(0, clock.at(59)), []);
    assert_eq!(child.tick(0, clock.at(60)), [Effect::Spawn], "the first restart is fast");
    assert!(child.last_cause().contains("boom"));

    assert_eq!(child.exited(failed(codes::SOURCE_CONNECTION), 0.0, clock.at(100)), []);
    assert_eq!(child.tick(0, clock.at(1099)), []);
    assert_eq!(child.tick(0, clock.at(1100)), [Effect::Spawn], "the second one after a second");

    assert_eq!(child.tick(1, clock.at(1150)), []);
    assert_eq!(child.tick(1, clock.at(1249)), []);
    assert_eq!(child.tick(1, clock.at(1250)), [Effect::Cancel]);
    assert_eq!(child.tick(1, clock.at(1260)), [Effect::Abort]);
    assert_eq!(child.tick(1, clock.at(1300)), [], "one abort is enough");
    assert_eq!(child.exited(Exit::Aborted, 0.0, clock.at(1301)), []);
    assert_eq!(child.tick(0, clock.at(3301)), [Effect::Spawn], "then two seconds");
    assert_eq!(child.deaths(), Deaths { panics: 1, errors: 1, hangs: 1 });
}

#[test]
fn jitter_only_shortens_and_the_cap_holds() {
    let limits = SupervisionLimits::default();
    assert_eq!(limits.back_off(0, 0.0), limits.first_restart);
    assert_eq!(limits.back_off(1, 0.0), Duration::from_secs(1));
    assert_eq!(limits.back_off(4, 0.0), Duration::from_secs(8));
    assert_eq!(limits.back_off(4, 1.0), Duration::from_secs(6));
    assert_eq!(limits.back_off(4_000_000_000, 0.0), Duration::from_secs(60));
}

#[test]
fn a_healthy_time_resets_the_back_off() {
    let (mut child, clock) = running(1);
    child.exited(Exit::Panicked(String::new()), 0.0, clock.at(0));
    assert_eq!(child.tick(0, clock.at(50)), [Effect::Spawn]);
    child.exited(Exit::Panicked(String::new()), 0.0, clock.at(1100));
    assert_eq!(child.tick(0, clock.at(1150)), [Effect::Spawn]);
}

#[test]
fn progress_is_not_a_hang() {
    let (mut child, clock) = running(1);
    for step in 1..100 {
        assert_eq!(child.tick(u64::from(step), clock.at(step * 90)), []);
    }
}

#[test]
fn an_error_that_needs_the_operator_waits_for_a_changed_token() {
    let (mut child, clock) = running(1);
    assert_eq!(child.exited(failed(codes::COPY_DUPLICATE), 0.0, clock.at(1)), []);
    assert_eq!(child.stage(), Stage::Paused);
    let (error, by_operator) = child.result();
    assert_eq!((error.unwrap().code, by_operator), (codes::COPY_DUPLICATE, false));
    assert_eq!(child.tick(0, clock.at(1_000_000)), []);
    assert_eq!(child.wish(Wish::Run { token: 1 }, false, clock.at(2)), []);
    // An operator's pause is seen in the result, and a resume starts it.
    assert_eq!(child.wish(Wish::Pause, false, clock.at(3)), []);
    assert!(child.result().1);
    assert_eq!(child.wish(Wish::Run { token: 2 }, false, clock.at(4)), [Effect::Spawn]);
    assert_eq!(child.result(), (None, false));
}

#[test]
fn a_pause_is_acknowledged_only_when_the_unit_is_idle() {
    let (mut child, clock) = running(1);
    assert_eq!(child.wish(Wish::Pause, false, clock.at(1)), [Effect::Cancel]);
    assert_eq!(child.stage(), Stage::Pausing);
    assert_eq!(child.wish(Wish::Pause, false, clock.at(2)), [], "asked once");
    for step in 1..20 {
        assert_eq!(
            child.tick(u64::from(step), clock.at(step * 50)),
            [],
            "draining with progress may take its time"
        );
    }
    assert_eq!(child.exited(Exit::Done(UnitDone::Cancelled), 0.0, clock.at(1000)), []);
    assert_eq!((child.stage(), child.result()), (Stage::Paused, (None, true)));
}

#[test]
fn a_drain_without_progress_is_aborted() {
    let (mut child, clock) = running(1);
    child.wish(Wish::Pause, false, clock.at(1));
    assert_eq!(child.tick(0, clock.at(100)), []);
    assert_eq!(child.tick(0, clock.at(101)), [Effect::Abort]);
    child.exited(Exit::Aborted, 0.0, clock.at(102));
    assert_eq!(child.stage(), Stage::Paused);
}

#[test]
fn resume_while_pausing_starts_again_after_the_exit() {
    let (mut child, clock) = running(1);
    child.wish(Wish::Pause, false, clock.at(1));
    assert_eq!(child.wish(Wish::Run { token: 2 }, false, clock.at(2)), []);
    assert_eq!(child.stage(), Stage::Resuming);
    assert_eq!(child.exited(Exit::Done(UnitDone::Cancelled), 0.0, clock.at(3)), [Effect::Spawn]);
}

#[test]
fn a_changed_token_or_epoch_restarts() {
    let (mut child, clock) = running(1);
    assert_eq!(child.wish(Wish::Run { token: 1 }, false, clock.at(1)), []);
    assert_eq!(child.wish(Wish::Run { token: 1 }, true, clock.at(1)), [Effect::Cancel]);
    assert_eq!(child.exited(Exit::Done(UnitDone::Cancelled), 0.0, clock.at(2)), [Effect::Spawn]);
    assert_eq!(child.wish(Wish::Run { token: 2 }, false, clock.at(3)), [Effect::Cancel]);
    assert_eq!(child.exited(failed(codes::COPY_DUPLICATE), 0.0, clock.at(4)), [Effect::Spawn]);
}

#[test]
fn finished_stays_until_the_token_changes() {
    let (mut child, clock) = running(1);
    assert_eq!(child.exited(Exit::Done(UnitDone::Finished), 0.0, clock.at(1)), []);
    assert_eq!(child.stage(), Stage::Finished);
    assert_eq!(child.wish(Wish::Run { token: 1 }, false, clock.at(2)), []);
    assert_eq!(child.wish(Wish::Pause, false, clock.at(2)), []);
    assert_eq!(child.stage(), Stage::Finished);
    assert_eq!(child.wish(Wish::Run { token: 2 }, false, clock.at(3)), [Effect::Spawn]);
}

#[test]
fn removal_is_forgotten_only_after_the_exit() {
    let (mut child, clock) = running(1);
    assert_eq!(child.wish(Wish::Remove, false, clock.at(1)), [Effect::Cancel]);
    assert_eq!(child.stage(), Stage::Stopping);
    assert_eq!(child.exited(Exit::Done(UnitDone::Cancelled), 0.0, clock.at(2)), [Effect::Forget]);
    let (mut child, clock) = running(1);
    child.exited(failed(codes::COPY_DUPLICATE), 0.0, clock.at(1));
    assert_eq!(child.wish(Wish::Remove, false, clock.at(2)), [Effect::Forget]);
}

#[test]
fn a_unit_that_stops_by_itself_does_not_stand_still() {
    let (mut child, clock) = running(1);
    assert_eq!(child.exited(Exit::Done(UnitDone::Cancelled), 0.0, clock.at(1)), []);
    assert_eq!(child.tick(0, clock.at(60)), [Effect::Spawn]);
    assert_eq!(child.deaths().errors, 1);
}

#[test]
fn the_next_attempt_and_the_count_are_known_and_a_pause_ends_both() {
    let (mut child, clock) = running(1);
    assert_eq!(child.retry(), None);
    child.exited(failed(codes::TARGET_CONNECTION), 0.0, clock.at(0));
    assert_eq!(child.retry(), Some((clock.at(50), 1)));
    assert_eq!(child.tick(0, clock.at(50)), [Effect::Spawn]);
    assert_eq!(child.retry(), None, "it is at work");
    child.exited(failed(codes::TARGET_NOT_READY), 0.0, clock.at(60));
    assert_eq!(child.retry(), Some((clock.at(1060), 2)));
    assert_eq!(child.result().0.unwrap().code, codes::TARGET_NOT_READY, "what it waits for is shown");
    // The operator's pause wins: nothing starts by itself any more, however long it takes.
    assert_eq!(child.wish(Wish::Pause, false, clock.at(70)), []);
    assert_eq!((child.stage(), child.retry()), (Stage::Paused, None));
    assert_eq!(child.tick(0, clock.at(1_000_000)), []);
    assert_eq!(child.wish(Wish::Pause, true, clock.at(1_000_001)), []);
    assert_eq!(child.wish(Wish::Run { token: 2 }, false, clock.at(1_000_002)), [Effect::Spawn]);
}

#[test]
fn a_failure_while_the_pause_is_under_way_does_not_start_anything() {
    let (mut child, clock) = running(1);
    child.wish(Wish::Pause, false, clock.at(1));
    assert_eq!(child.exited(failed(codes::TARGET_CONNECTION), 0.0, clock.at(2)), []);
    assert_eq!((child.stage(), child.retry()), (Stage::Paused, None));
    assert_eq!(child.tick(0, clock.at(1_000_000)), []);
}

#[test]
fn without_auto_resume_only_handovers_start_again() {
    let checker = CheckerConfig { check_enable: false, ..CheckerConfig::default() };
    let limits = limits().with_checker(&checker);
    for (code, stage) in [
        (codes::TARGET_CONNECTION, Stage::Paused),
        (codes::UNIT_PANICKED, Stage::Paused),
        (codes::FENCED, Stage::Resuming),
        (codes::UNIT_CANCELLED, Stage::Resuming),
    ] {
        let clock = Clock(Instant::now());
        let (mut child, _) = Child::new(limits, Wish::Run { token: 1 }, Deaths::default(), clock.at(0));
        child.exited(failed(code), 0.0, clock.at(1));
        assert_eq!(child.stage(), stage, "{code}");
    }
}

#[test]
fn a_defect_that_always_comes_back_stops_and_a_lost_server_never_does() {
    for (code, stops) in [(codes::UNIT_PANICKED, true), (codes::TARGET_CONNECTION, false)] {
        let (mut child, clock) = running(1);
        let mut now = 0;
        let mut attempts = 0;
        while attempts < 100 && child.stage() != Stage::Paused {
            attempts += 1;
            child.exited(failed(code), 0.0, clock.at(now));
            now += 61_000;
            child.tick(0, clock.at(now));
        }
        let expected = if stops { policy::DEFECT_ATTEMPTS_MAX + 1 } else { 100 };
        assert_eq!(attempts, expected, "{code}");
    }
}

#[test]
fn the_sources_checker_sets_the_back_off() {
    let checker = CheckerConfig {
        backoff_rollback: Some(Duration::from_secs(7)),
        backoff_max: Some(Duration::from_secs(20)),
        backoff_min: Some(Duration::from_secs(2)),
        backoff_jitter: false,
        backoff_factor: Some(3.0),
        ..CheckerConfig::default()
    };
    let limits = SupervisionLimits::default().with_checker(&checker);
    let waits: Vec<u64> = (0..5).map(|failures| limits.back_off(failures, 1.0).as_secs()).collect();
    assert_eq!(waits, [2, 2, 6, 18, 20]);
    assert_eq!(limits.healthy_after, Duration::from_secs(7));
    assert_eq!(
        SupervisionLimits::default().with_checker(&CheckerConfig::default()),
        SupervisionLimits::default()
    );
}

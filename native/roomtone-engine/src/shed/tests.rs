#![allow(clippy::disallowed_methods)]

use super::*;

const MS: Duration = Duration::from_millis(1);

/// A shard whose ticks cost something, on a virtual clock.
struct Busy {
    shed: Shed,
    start: Instant,
    now: Instant,
    /// When it shed, in milliseconds, and how far.
    steps: Vec<(u128, u8)>,
}

impl Busy {
    fn new() -> Busy {
        let now = Instant::now();
        Busy {
            shed: Shed::default(),
            start: now,
            now,
            steps: Vec::new(),
        }
    }

    fn round(&mut self, lasted: Duration, worked: Duration, ticking: Duration, late: Duration) {
        self.now += lasted;
        self.shed.late(late);
        let round = Round {
            lasted,
            worked,
            ticking,
        };
        if self.shed.round(self.now, &round) {
            self.note();
        }
    }

    fn second(&mut self, load: f32) {
        if self.shed.report(self.now, load) {
            self.note();
        }
    }

    fn note(&mut self) {
        self.steps
            .push(((self.now - self.start).as_millis(), self.shed.level()));
    }

    /// Ticks of that much work, each 20 ms or as soon as the one before is done; seconds are reported as they pass.
    fn run(&mut self, time: Duration, work: impl Fn(&Shed) -> Duration) {
        let until = self.now + time;
        let (mut second, mut worked, mut behind) = (self.now, Duration::ZERO, Duration::ZERO);
        while self.now < until {
            let work = work(&self.shed);
            let lasted = work.max((20 * MS).saturating_sub(behind));
            self.round(lasted, work, work, behind);
            // Ticks beyond the three that can be made up for are skipped.
            behind = (behind + lasted).saturating_sub(20 * MS).min(60 * MS);
            worked += work;
            if self.now - second >= SECOND {
                let load = worked.as_secs_f32() / (self.now - second).as_secs_f32();
                self.second(load);
                (second, worked) = (self.now, Duration::ZERO);
            }
        }
    }
}

/// Forty-five rooms of ten in which three talk: a shared mix each, three private ones that cost the same whatever is given up, and so much
/// for each talker that is decoded.
fn many_rooms_talk(shed: &Shed) -> Duration {
    let shared = Duration::from_micros(match shed.complexity() {
        10 => 240,
        5 => 180,
        _ => 30,
    });
    let talkers = shed.max_talkers().min(3) as u32;
    45 * (shared + Duration::from_micros(40 + 35) * talkers)
}

#[test]
fn many_who_begin_at_once_are_shed_for_within_the_second_and_no_further_than_it_takes() {
    let mut busy = Busy::new();
    busy.run(SECOND, |_| 2 * MS);
    assert_eq!(busy.steps, []);
    let begun = (busy.now - busy.start).as_millis();
    busy.run(SECOND, many_rooms_talk);
    let levels: Vec<u8> = busy.steps.iter().map(|step| step.1).collect();
    assert_eq!(levels, [1, 2], "complexity is enough: {:?}", busy.steps);
    assert!(busy.steps[0].0 - begun <= 200, "{:?}", busy.steps);
    assert!(busy.steps[1].0 - busy.steps[0].0 >= 100, "{:?}", busy.steps);
    assert!(busy.steps[1].0 - begun <= 500, "{:?}", busy.steps);
}

#[test]
fn ticks_that_nothing_helps_go_through_all_steps_in_order_none_faster_than_the_one_before_can_show() {
    let mut busy = Busy::new();
    busy.run(2 * SECOND, |_| 30 * MS);
    let levels: Vec<u8> = busy.steps.iter().map(|step| step.1).collect();
    assert_eq!(levels, [1, 2, 3, 4]);
    for pair in busy.steps.windows(2) {
        assert!(pair[1].0 - pair[0].0 >= 300, "{:?}", busy.steps);
    }
    assert!(
        busy.steps[2].0 < 1000,
        "the talkers within the second: {:?}",
        busy.steps
    );
}

#[test]
fn ticks_shed_before_one_of_them_is_missed() {
    let mut busy = Busy::new();
    // Each is done in time, but there is nothing to spare.
    busy.run(500 * MS, |_| 18 * MS);
    assert!(busy.steps.first().is_some_and(|step| step.0 <= 120), "{:?}", busy.steps);
}

#[test]
fn a_thread_that_waits_for_its_core_now_and_then_gives_nothing_up() {
    let mut busy = Busy::new();
    for accident in 0..50 {
        // The system takes the thread away from its work for 20 to 200 ms; then ticks are up to three late until they have caught up.
        let away = (20 + accident * 37 % 180) * MS;
        busy.round(away, away, away, Duration::ZERO);
        for late in [40, 30, 10] {
            busy.round(20 * MS, 18 * MS, 15 * MS, late * MS);
        }
        for _ in 0..5 {
            busy.round(20 * MS, 4 * MS, 3 * MS, Duration::ZERO);
        }
    }
    assert_eq!(busy.steps, []);
}

#[test]
fn being_late_without_having_much_to_do_is_somebody_elses_doing() {
    let mut busy = Busy::new();
    for _ in 0..500 {
        busy.round(20 * MS, 3 * MS, 2 * MS, 15 * MS);
    }
    assert_eq!(busy.steps, []);
    // Work that isn't ticks (handshakes, say) is shed for once it keeps ticks waiting.
    for _ in 0..500 {
        busy.round(20 * MS, 20 * MS, 5 * MS, 2 * MS);
    }
    assert_eq!(busy.steps, []);
    for _ in 0..6 {
        busy.round(20 * MS, 20 * MS, 5 * MS, 12 * MS);
    }
    assert_eq!(busy.shed.level(), 1);
}

#[test]
fn a_long_rest_is_many_calm_rounds() {
    let mut busy = Busy::new();
    for _ in 0..20 {
        for _ in 0..PRESSURE - 1 {
            busy.round(20 * MS, 19 * MS, 19 * MS, Duration::ZERO);
        }
        busy.round(SECOND, MS, MS, Duration::ZERO);
    }
    assert_eq!(busy.steps, []);
}

#[test]
fn what_comes_and_goes_is_taken_back_ever_later() {
    let mut busy = Busy::new();
    // Too much as it is, next to nothing once the talkers are few.
    let work = |shed: &Shed| if shed.max_talkers() > 3 { 25 * MS } else { 2 * MS };
    busy.run(Duration::from_secs(300), work);
    let backs = busy.steps.windows(2).filter(|pair| pair[1].1 < pair[0].1).count();
    assert!((3..=9).contains(&backs), "taken back {backs} times: {:?}", busy.steps);
    assert!(busy.steps.iter().all(|step| step.1 < 4), "nobody was refused");
    // Once it is over everything comes back, and the next time begins afresh.
    busy.run(Duration::from_secs(300), |_| 2 * MS);
    assert_eq!((busy.shed.level(), busy.shed.calm), (0, CALM));
}

#[test]
fn by_the_second_complexity_goes_first_then_talkers_then_joins_and_all_comes_back() {
    let mut shed = Shed::default();
    let mut now = Instant::now();
    let mut steps = Vec::new();
    for _ in 0..6 {
        now += SECOND;
        shed.report(now, 0.95);
        assert_eq!(shed.leaves_noise(), shed.complexity() == 0);
        steps.push((shed.complexity(), shed.max_talkers(), shed.refuses_joins()));
    }
    let all = usize::MAX;
    assert_eq!(
        steps,
        [
            (5, all, false),
            (0, all, false),
            (0, 3, false),
            (0, 3, true),
            (0, 3, true),
            (0, 3, true)
        ]
    );
    for _ in 0..10 {
        now += SECOND;
        assert!(!shed.report(now, 0.7), "between the two marks nothing changes");
    }
    for _ in 0..25 {
        now += SECOND;
        shed.report(now, 0.1);
    }
    assert_eq!((shed.complexity(), shed.level()), (10, 0));
}

#[test]
fn the_second_in_which_a_step_was_taken_takes_no_other() {
    let mut busy = Busy::new();
    for _ in 0..PRESSURE {
        busy.round(20 * MS, 20 * MS, 20 * MS, Duration::ZERO);
    }
    assert_eq!(busy.shed.level(), 1);
    busy.now += 500 * MS;
    busy.second(0.9);
    assert_eq!(busy.shed.level(), 1);
    busy.now += SECOND;
    busy.second(0.9);
    assert_eq!(busy.shed.level(), 2);
}

#[test]
fn one_calm_second_is_not_enough() {
    let mut shed = Shed::default();
    let mut now = Instant::now();
    shed.report(now, 1.0);
    for second in 0..20 {
        now += SECOND;
        shed.report(now, if second % 3 == 2 { 0.7 } else { 0.1 });
    }
    assert_eq!(shed.level(), 1);
}

//! Two ends of a trunk, with a network between them that loses, repeats, reorders and forges.

#![allow(clippy::disallowed_methods)]

use std::time::{Duration, Instant};

use counting_alloc::CountingAlloc;
use proptest::prelude::*;
use roomtone_trunk::{
    Frame, Item, Key, MAX_DATAGRAM, MAX_PAYLOAD, MOST_UNHEARD, Receiver, ReceiverStats, Rejected, Sender, TooLong,
    trunk_of,
};

#[global_allocator]
static ALLOCATOR: CountingAlloc = CountingAlloc;

const TRUNK: u32 = 7;

fn key(byte: u8) -> Key {
    Key::new([byte; 32])
}

fn now() -> Instant {
    Instant::now()
}

fn ends() -> (Sender, Receiver) {
    (Sender::new(TRUNK, 0, &key(1)), Receiver::new(TRUNK, 0, &key(1)))
}

fn frame(talker: u64, sequence: u16, payload: &[u8]) -> Frame<'_> {
    Frame {
        talker,
        sequence,
        timestamp: u32::from(sequence) * 960,
        marker: false,
        level: Some((30, true)),
        payload,
    }
}

/// One datagram with this frame.
fn datagram(sender: &mut Sender, frame: &Frame<'_>) -> Vec<u8> {
    let mut sealed = Vec::new();
    sender
        .push(now(), frame, |_| panic!("nothing was collected before"))
        .expect("it fits");
    sender.flush(now(), |datagram| sealed.extend_from_slice(datagram));
    sealed
}

/// The frames of a datagram, as talker and sequence number.
fn open(receiver: &mut Receiver, datagram: &[u8]) -> Result<Vec<(u64, u16)>, Rejected> {
    let mut frames = Vec::new();
    receiver
        .open(&mut datagram.to_vec(), |item| {
            if let Item::Frame(frame) = item {
                frames.push((frame.talker, frame.sequence));
            }
        })
        .map(|()| frames)
}

proptest! {
    #[test]
    fn frames_arrive_as_they_were_in_datagrams_of_a_bounded_size(
        frames in prop::collection::vec(
            (any::<u64>(), any::<u32>(), any::<bool>(), prop::option::of((0u8..=127, any::<bool>())), prop::collection::vec(any::<u8>(), 0..=MAX_PAYLOAD)),
            1..30,
        ),
    ) {
        let (mut sender, mut receiver) = ends();
        let mut datagrams: Vec<Vec<u8>> = Vec::new();
        // Sequence numbers of their own, so that none counts as repeated.
        let sent: Vec<Frame<'_>> = frames.iter().enumerate().map(|(i, (talker, timestamp, marker, level, payload))| Frame {
            talker: *talker, sequence: i as u16, timestamp: *timestamp, marker: *marker, level: *level, payload,
        }).collect();
        for frame in &sent {
            sender.push(now(), frame, |datagram| datagrams.push(datagram.to_vec())).expect("it fits");
        }
        sender.flush(now(), |datagram| datagrams.push(datagram.to_vec()));
        prop_assert!(sender.is_empty());
        let mut at = 0;
        for datagram in &mut datagrams {
            prop_assert!(datagram.len() <= MAX_DATAGRAM);
            prop_assert_eq!(trunk_of(datagram), Some(TRUNK));
            let mut wrong = false;
            receiver.open(datagram, |item| { wrong |= item != Item::Frame(sent[at]); at += 1; }).expect("it is authentic");
            prop_assert!(!wrong);
        }
        prop_assert_eq!(at, sent.len());
    }

    #[test]
    fn bytes_of_strangers_are_refused_and_counted(
        junk in prop::collection::vec(any::<u8>(), 0..1500),
        flip in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let (mut sender, mut receiver) = ends();
        prop_assert!(open(&mut receiver, &junk).is_err());
        let good = datagram(&mut sender, &frame(1, 1, b"opus"));
        let mut bad = good.clone();
        let at = flip.index(bad.len());
        bad[at] ^= 1 << bit;
        prop_assert!(open(&mut receiver, &bad).is_err());
        prop_assert!(open(&mut receiver, &good[..good.len() - 1]).is_err());
        // None of it has moved the window.
        prop_assert_eq!(open(&mut receiver, &good), Ok(vec![(1, 1)]));
        prop_assert_eq!(receiver.stats().rejected, 3);
    }

    #[test]
    fn each_datagram_is_taken_once_in_whatever_order_they_come(order in prop::collection::vec(0usize..1500, 1..200)) {
        let (mut sender, mut receiver) = ends();
        let all: Vec<Vec<u8>> = (0..1500).map(|i| datagram(&mut sender, &frame(i, 1, &[]))).collect();
        let (mut taken, mut newest) = (std::collections::HashSet::new(), 0);
        for i in order {
            let fresh = i + 1024 > newest && taken.insert(i);
            newest = newest.max(i);
            prop_assert_eq!(open(&mut receiver, &all[i]).is_ok(), fresh);
        }
        let stats = receiver.stats();
        prop_assert_eq!((stats.received, stats.lost), (taken.len() as u64, (newest + 1 - taken.len()) as u64));
    }
}

#[test]
fn another_clusters_key_another_trunk_and_what_is_too_long_are_refused() {
    let (mut sender, mut receiver) = ends();
    let forged = datagram(&mut Sender::new(TRUNK, 0, &key(2)), &frame(1, 1, b"opus"));
    assert_eq!(open(&mut receiver, &forged), Err(Rejected::Forged));
    let stray = datagram(&mut Sender::new(8, 0, &key(1)), &frame(1, 1, b"opus"));
    assert_eq!(open(&mut receiver, &stray), Err(Rejected::NotOurs));
    let mut long = datagram(&mut sender, &frame(1, 1, b"opus"));
    long.resize(MAX_DATAGRAM + 1, 0);
    assert_eq!(open(&mut receiver, &long), Err(Rejected::NotOurs));
    let payload = vec![0; MAX_PAYLOAD + 1];
    let pushed = sender.push(now(), &frame(1, 2, &payload), |_| ());
    assert_eq!(pushed, Err(TooLong(MAX_PAYLOAD + 1)));
    assert_eq!(format!("{:?}", key(3)), "Key(…)");
}

#[test]
fn a_new_key_counts_anew_and_the_former_one_is_good_until_the_next() {
    let (mut sender, mut receiver) = ends();
    let late = datagram(&mut sender, &frame(1, 1, &[]));
    let later = datagram(&mut sender, &frame(1, 2, &[]));
    sender.renew(1, &key(2));
    let early = datagram(&mut sender, &frame(1, 3, &[]));
    assert_eq!(open(&mut receiver, &early), Err(Rejected::OtherKey));
    receiver.renew(1, &key(2));
    assert_eq!(open(&mut receiver, &early), Ok(vec![(1, 3)]));
    assert_eq!(open(&mut receiver, &late), Ok(vec![(1, 1)]));
    receiver.renew(2, &key(3));
    assert_eq!(open(&mut receiver, &later), Err(Rejected::OtherKey));
}

#[test]
fn both_ends_count_datagrams_and_bytes_and_losses_of_all_keys() {
    let (mut sender, mut receiver) = ends();
    let mut bytes = 0;
    for number in 0..3u8 {
        for sequence in 0..20 {
            let sealed = datagram(&mut sender, &frame(1, sequence, &[7; 50]));
            bytes += sealed.len() as u64;
            // The last one always comes.
            if sequence % 5 != 2 {
                open(&mut receiver, &sealed).expect("it is authentic");
            }
        }
        sender.renew(number + 1, &key(number + 2));
        receiver.renew(number + 1, &key(number + 2));
    }
    let (sent, got) = (sender.stats(), receiver.stats());
    assert_eq!((sent.datagrams, sent.bytes), (60, bytes));
    assert_eq!((got.received, got.lost, got.bytes), (48, 12, bytes * 48 / 60));
}

#[test]
fn the_round_trip_is_told_after_the_first_report_and_with_another_key() {
    let (mut sender, mut receiver) = ends();
    assert_eq!(sender.stats().round_trip, None);
    let begin = now();
    for number in 0..2u8 {
        for second in 0..10 {
            let left = begin + Duration::from_secs(second);
            sender
                .push(left, &frame(1, second as u16, b"opus"), |_| ())
                .expect("it fits");
            sender.flush(left, |datagram| {
                receiver.open(&mut datagram.to_vec(), |_| ()).expect("it is authentic");
            });
            let report = receiver.report().expect("some have come");
            sender.take_report(left + Duration::from_millis(30), report);
        }
        let stats = sender.stats();
        assert_eq!(stats.round_trip, Some(Duration::from_millis(30)));
        assert_eq!(stats.jitter, Some(Duration::ZERO));
        sender.renew(number + 1, &key(number + 2));
        receiver.renew(number + 1, &key(number + 2));
    }
}

#[test]
fn frames_are_repeated_while_datagrams_are_lost_and_each_is_passed_on_once() {
    let (mut sender, mut receiver) = ends();
    let mut heard = Vec::new();
    for sequence in 0..4000u16 {
        // Every tenth of the second and third thousand is lost.
        let lossy = (1000..3000).contains(&sequence);
        let sealed = datagram(&mut sender, &frame(1, sequence, b"opus"));
        if !lossy || sequence % 10 != 5 {
            heard.extend(open(&mut receiver, &sealed).expect("it is authentic"));
        }
        if sequence % 50 == 49 {
            sender.take_report(now(), receiver.report().expect("some have come"));
        }
        // Two reports tell of it. Ten without loss after that end it.
        if sequence == 990 || sequence == 3990 {
            assert!(!sender.repeats(), "{sequence}");
        } else if (1100..3000).contains(&sequence) {
            assert!(sender.repeats(), "{sequence}");
        }
    }
    let missing: Vec<u16> = (0..4000).filter(|sequence| !heard.contains(&(1, *sequence))).collect();
    assert!(
        missing.len() <= 10 && missing.iter().all(|sequence| *sequence < 1100),
        "{missing:?}"
    );
    assert_eq!(heard.len() + missing.len(), 4000, "a frame came twice");
    assert_eq!(receiver.stats().lost, 200);
}

#[test]
fn a_frame_from_before_a_pause_is_not_repeated() {
    let (mut sender, mut receiver) = ends();
    for sequence in 0..100 {
        let sealed = datagram(&mut sender, &frame(1, sequence, b"opus"));
        if sequence % 10 != 5 {
            open(&mut receiver, &sealed).expect("it is authentic");
        }
    }
    sender.take_report(now(), receiver.report().expect("some have come"));
    assert!(sender.repeats());
    let mut sent = |sequence: u16, at: u32| {
        let timestamp = at * 960;
        let frame = Frame {
            timestamp,
            ..frame(1, sequence, b"opus")
        };
        datagram(&mut sender, &frame).len()
    };
    let (at_once, after_a_pause, then) = (sent(100, 100), sent(101, 125), sent(102, 126));
    assert!(after_a_pause < at_once, "{after_a_pause} against {at_once} bytes");
    assert_eq!(then, at_once);
}

#[test]
fn a_report_of_another_time_changes_nothing() {
    let (mut sender, mut receiver) = ends();
    for sequence in 0..20 {
        open(&mut receiver, &datagram(&mut sender, &frame(1, sequence, &[]))).expect("it is authentic");
    }
    let report = receiver.report().expect("some have come");
    let wrong = roomtone_trunk::Report {
        highest: 1_000,
        ..report
    };
    sender.take_report(now(), wrong);
    assert!(!sender.repeats());
    sender.take_report(now(), report);
    sender.take_report(now(), report);
    assert!(!sender.repeats());
}

#[test]
fn only_the_newest_datagram_of_the_present_key_is_reported_of() {
    let (mut sender, mut receiver) = ends();
    let sealed: Vec<_> = (0..4)
        .map(|sequence| datagram(&mut sender, &frame(1, sequence, &[])))
        .collect();
    assert!(receiver.report().is_none(), "nothing has come");
    open(&mut receiver, &sealed[1]).expect("it is authentic");
    assert_eq!(receiver.report().map(|report| report.highest), Some(1));
    open(&mut receiver, &sealed[0]).expect("it is authentic");
    assert!(receiver.report().is_none(), "it was overtaken");
    open(&mut receiver, &sealed[2]).expect("it is authentic");
    assert_eq!(receiver.report().map(|report| report.highest), Some(2));
    assert!(open(&mut receiver, &sealed[2]).is_err(), "it came before");
    assert!(receiver.report().is_none());
    receiver.renew(1, &key(2));
    open(&mut receiver, &sealed[3]).expect("it is authentic");
    assert!(receiver.report().is_none(), "it came under the former key");
    sender.renew(1, &key(2));
    open(&mut receiver, &datagram(&mut sender, &frame(1, 4, &[]))).expect("it is authentic");
    assert_eq!(receiver.report().map(|report| report.highest), Some(0));
}

#[test]
fn a_list_of_unheard_talkers_arrives_with_frames_and_ends_at_its_most() {
    let (mut sender, mut receiver) = ends();
    let told: Vec<u64> = (0..200).map(|i| u64::MAX - i).collect();
    let mut lists = Vec::new();
    for count in [0, 1, MOST_UNHEARD, 200] {
        sender
            .push(now(), &frame(1, count as u16, b"opus"), |_| ())
            .expect("it fits");
        let mut sealed = Vec::new();
        sender.push_unheard(now(), count as u32, &told[..count], |before| {
            sealed.push(before.to_vec())
        });
        sender.flush(now(), |datagram| sealed.push(datagram.to_vec()));
        for mut datagram in sealed {
            assert!(datagram.len() <= MAX_DATAGRAM);
            let opened = receiver.open(&mut datagram, |item| {
                if let Item::Unheard(list) = item {
                    lists.push((list.number, list.talkers().collect::<Vec<_>>()));
                }
            });
            assert_eq!(opened, Ok(()));
        }
    }
    let expected = [(0, 0), (1, 1), (128, MOST_UNHEARD), (200, MOST_UNHEARD)];
    assert_eq!(lists, expected.map(|(number, count)| (number, told[..count].to_vec())));
}

#[test]
fn a_stream_of_frames_and_of_junk_allocates_nothing() {
    let (mut sender, mut receiver) = ends();
    let payload = [5; 160];
    let mut sealed = Vec::with_capacity(MAX_DATAGRAM);
    let mut junk = [0xF1; 600];
    let mut pass = |sequences: std::ops::Range<u16>| {
        for sequence in sequences {
            for talker in 0..8 {
                sealed.clear();
                let pushed = sender.push(now(), &frame(talker, sequence, &payload), |datagram| {
                    sealed.extend_from_slice(datagram)
                });
                assert!(pushed.is_ok());
                if !sealed.is_empty() {
                    receiver.open(&mut sealed, |_| {}).expect("it is authentic");
                }
                junk[9] = sequence as u8;
                assert!(receiver.open(&mut junk, |_| {}).is_err());
            }
        }
    };
    pass(0..100);
    let before = counting_alloc::allocations();
    pass(100..2000);
    assert_eq!(counting_alloc::allocations(), before);
    let ReceiverStats { frames, rejected, .. } = receiver.stats();
    assert!(frames > 15_000 && rejected == 16_000, "{frames} {rejected}");
}

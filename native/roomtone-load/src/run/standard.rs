//! A participant with the `webrtc` crate's peer connection: another implementation of ICE and SDP than our client's.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_OPUS, MediaEngine};
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder, RTCIceGatheringState,
    RTCPeerConnectionState, RTCSessionDescription, Registry, register_default_interceptors,
};
use webrtc::runtime::default_runtime;

use super::cast::Role;
use super::hearing::Hearing;
use super::light::reached;
use super::{JoinError, Phase, Shared, Took};
use roomtone_testkit::peer::{Audio, TrackLoss};

const PACKET_TIME: Duration = Duration::from_millis(20);
const PAYLOAD_TYPE: u8 = 111;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const FAR: Duration = Duration::from_secs(3600);

enum News {
    Gathered,
    Connected,
    Gone(String),
    Audio(Instant, Audio),
}

struct Handler(mpsc::UnboundedSender<News>);

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            let _ = self.0.send(News::Gathered);
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        let _ = match state {
            RTCPeerConnectionState::Connected => self.0.send(News::Connected),
            RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed => {
                self.0.send(News::Gone(format!("the connection is {state}")))
            }
            _ => Ok(()),
        };
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let news = self.0.clone();
        tokio::spawn(async move {
            while let Some(event) = track.poll().await {
                let TrackRemoteEvent::OnRtpPacket(packet) = event else {
                    continue;
                };
                let audio = Audio {
                    seq: packet.header.sequence_number,
                    timestamp: packet.header.timestamp,
                    marker: packet.header.marker,
                    ssrc: packet.header.ssrc,
                    csrc: packet.header.csrc.first().copied(),
                    payload_type: packet.header.payload_type,
                    level: None,
                    payload: packet.payload,
                };
                if news.send(News::Audio(Instant::now(), audio)).is_err() {
                    return;
                }
            }
        });
    }
}

fn failed(error: impl std::fmt::Display) -> JoinError {
    JoinError::Media(format!("the webrtc crate: {error}"))
}

fn opus() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: MIME_TYPE_OPUS.to_owned(),
        clock_rate: 48_000,
        channels: 2,
        sdp_fmtp_line: "minptime=10;useinbandfec=1".to_owned(),
        rtcp_feedback: vec![],
    }
}

async fn connection(
    shared: &Shared,
    news: mpsc::UnboundedSender<News>,
) -> Result<impl PeerConnection + use<>, JoinError> {
    let mut media = MediaEngine::default();
    let codec = RTCRtpCodecParameters {
        rtp_codec: opus(),
        payload_type: PAYLOAD_TYPE,
    };
    media.register_codec(codec, RtpCodecKind::Audio).map_err(failed)?;
    let registry = register_default_interceptors(Registry::new(), &mut media).map_err(failed)?;
    let runtime = default_runtime().ok_or_else(|| failed("it was built without a runtime"))?;
    // A socket on a LAN address reaches no loopback candidate of the server, and the other way round.
    let bind = shared.config.bind;
    let mut addresses = vec![format!("{bind}:0")];
    if bind.is_unspecified() && bind.is_ipv4() {
        addresses.push("127.0.0.1:0".to_owned());
    }
    PeerConnectionBuilder::new()
        .with_configuration(RTCConfigurationBuilder::new().build())
        .with_media_engine(media)
        .with_interceptor_registry(registry)
        .with_handler(Arc::new(Handler(news)))
        .with_runtime(runtime)
        .with_udp_addrs(addresses)
        .build()
        .await
        .map_err(failed)
}

pub(super) async fn participate(shared: &Shared, role: Role) -> Result<Took, JoinError> {
    let mut phase = shared.phase.clone();
    let turn = tokio::select! {
        turn = shared.joins.acquire() => turn.map_err(|_| JoinError::Interrupted)?,
        () = reached(&mut phase, Phase::Leaving) => return Err(JoinError::Interrupted),
    };
    let (sender, mut news) = mpsc::unbounded_channel();
    let offered = Instant::now();
    shared.offering(offered);
    let somebody_talked = shared.talking.load(Relaxed) > 0;
    let connection = connection(shared, sender).await?;
    let ssrc: u32 = rand::random();
    let coding = RTCRtpCodingParameters {
        ssrc: Some(ssrc),
        ..Default::default()
    };
    let encoding = RTCRtpEncodingParameters {
        rtp_coding_parameters: coding,
        codec: opus(),
        ..Default::default()
    };
    let name = role.name.replace(' ', "-");
    let track: Arc<dyn TrackLocal> = Arc::new(TrackLocalStaticRTP::new(MediaStreamTrack::new(
        name.clone(),
        format!("{name}-audio"),
        name,
        RtpCodecKind::Audio,
        vec![encoding],
    )));
    connection.add_track(track.clone()).await.map_err(failed)?;
    let offer = connection.create_offer(None).await.map_err(failed)?;
    connection.set_local_description(offer).await.map_err(failed)?;
    wait(&mut news, &mut phase, |news| matches!(news, News::Gathered)).await?;
    let offer = connection
        .local_description()
        .await
        .ok_or_else(|| failed("no local description"))?;
    let session = shared.whip.post(&offer.sdp).await?;
    let connected = async {
        let answer = RTCSessionDescription::answer(session.answer.clone()).map_err(failed)?;
        connection.set_remote_description(answer).await.map_err(failed)?;
        wait(&mut news, &mut phase, |news| matches!(news, News::Connected)).await
    };
    let connected = connected.await;
    drop(turn);
    let result = match connected {
        Ok(()) => {
            let now = Instant::now();
            shared.joined(now);
            if role.talk.is_some() {
                shared.talking.fetch_add(1, Relaxed);
            }
            let hearing = role.ear.then(|| Hearing::new(shared.config.probes, role.probe));
            let took = Took {
                connect: now - offered,
                hearing,
                ..Took::default()
            };
            let offered = somebody_talked.then_some(offered);
            Ok(stay(shared, role, track.as_ref(), ssrc, offered, took, &mut news, &mut phase).await)
        }
        Err(error) => Err(error),
    };
    // Before the connection's end, which may end the session on the server's side.
    let deleted = shared.delete(&session).await;
    if let Err(error) = connection.close().await {
        log::debug!("close: {error}");
    }
    let mut took = result?;
    if let (Err(error), None) = (deleted, &took.ended) {
        took.ended = Some(format!("DELETE at the end: {error}"));
    }
    Ok(took)
}

async fn wait(
    news: &mut mpsc::UnboundedReceiver<News>,
    phase: &mut watch::Receiver<Phase>,
    wanted: impl Fn(&News) -> bool,
) -> Result<(), JoinError> {
    let heard = async {
        loop {
            match news.recv().await {
                Some(News::Gone(why)) => return Err(failed(why)),
                Some(news) if wanted(&news) => return Ok(()),
                Some(_) => {}
                None => return Err(failed("it went away")),
            }
        }
    };
    tokio::select! {
        result = tokio::time::timeout(CONNECT_TIMEOUT, heard) => result.unwrap_or_else(|_| Err(failed("no connection in 30 s"))),
        () = reached(phase, Phase::Leaving) => Err(JoinError::Interrupted),
    }
}

#[allow(clippy::too_many_arguments)] // one call, and no sense of its own
async fn stay(
    shared: &Shared,
    mut role: Role,
    track: &dyn TrackLocal,
    ssrc: u32,
    offered: Option<Instant>,
    mut took: Took,
    news: &mut mpsc::UnboundedReceiver<News>,
    phase: &mut watch::Receiver<Phase>,
) -> Took {
    let mut next_talk = role.talk.is_some().then(Instant::now);
    let (mut seq, mut timestamp) = (rand::random::<u16>() >> 1, rand::random::<u32>());
    let mut loss = TrackLoss::default();
    let mut steady = false;
    loop {
        match *phase.borrow_and_update() {
            Phase::Joining => {}
            Phase::Steady if steady => {}
            Phase::Steady => {
                steady = true;
                (took.packets_in, took.packets_out, loss) = (0, 0, TrackLoss::default());
            }
            Phase::Leaving => break,
        }
        let due = next_talk.unwrap_or_else(|| Instant::now() + FAR);
        tokio::select! {
            biased;
            heard = news.recv() => match heard {
                Some(News::Audio(at, audio)) => {
                    if let (None, Some(offered)) = (took.first_audio, offered) {
                        took.first_audio = Some(at - offered);
                    }
                    took.packets_in += 1;
                    shared.packets_in.fetch_add(1, Relaxed);
                    loss.received(at, &audio);
                    if let Some(hearing) = &mut took.hearing {
                        hearing.packet(at, &audio, &shared.board);
                    }
                }
                Some(News::Gone(why)) => {
                    took.ended = Some(why);
                    reached(phase, Phase::Leaving).await;
                }
                Some(_) => {}
                None => reached(phase, Phase::Leaving).await,
            },
            () = sleep_until(due.into()) => {
                let now = Instant::now();
                if let Some(packet) = role.next_packet(&shared.board, now) {
                    let header = rtc::rtp::Header {
                        version: 2,
                        payload_type: PAYLOAD_TYPE,
                        sequence_number: seq,
                        timestamp,
                        ssrc,
                        ..Default::default()
                    };
                    match track.write_rtp(rtc::rtp::Packet { header, payload: packet.payload }).await {
                        Ok(()) => {
                            took.packets_out += 1;
                            shared.packets_out.fetch_add(1, Relaxed);
                        }
                        Err(error) => log::debug!("{}: {error}", role.name),
                    }
                }
                seq = seq.wrapping_add(1);
                timestamp = timestamp.wrapping_add(960);
                next_talk = Some(due + PACKET_TIME);
            }
            _ = phase.changed() => {}
        }
    }
    took.lost = loss.lost();
    took
}

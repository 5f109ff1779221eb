//! Two clients of the `webrtc` crate over real sockets, whose signalling goes through this program's standard streams.
//!
//! It writes a line `offer NAME SDP` for each of `ada` and `ben`, reads a line `answer NAME SDP` for each, and has both send a tone
//! of their own. Once each has heard the other's tone, and not their own, for half a second, it writes `heard` and ends; it
//! waits for 60 s at most. SDP is written with `\r\n` as `|`, which SDP of WebRTC doesn't have.
//!
//! `test/headless` joins a room without a web with it.

use std::io::{BufRead, Write};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roomtone_testkit::fixtures::{OpusTalker, Tone, tone_hz};
use roomtone_testkit::listen::Ear;
use roomtone_testkit::peer::Audio;
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_OPUS, MediaEngine};
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use tokio::sync::mpsc;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder, RTCIceGatheringState,
    RTCPeerConnectionState, RTCSessionDescription, Registry, register_default_interceptors,
};
use webrtc::runtime::default_runtime;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const NAMES: [&str; 2] = ["ada", "ben"];
const PAYLOAD_TYPE: u8 = 111;
const PATIENCE: Duration = Duration::from_secs(60);
/// Amplitude of the tones: −20 dBFS.
const AMPLITUDE: f32 = 0.1;
/// Somebody is heard within 3 dB of how they spoke, and isn't at 30 dB less.
const HEARD_DBFS: f32 = -23.0;
const UNHEARD_DBFS: f32 = -50.0;

enum News {
    Gathered,
    Connected,
    Gone(String),
    Audio(Audio),
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
                if let TrackRemoteEvent::OnRtpPacket(packet) = event {
                    let _ = news.send(News::Audio(Audio {
                        seq: packet.header.sequence_number,
                        timestamp: packet.header.timestamp,
                        marker: packet.header.marker,
                        ssrc: packet.header.ssrc,
                        csrc: packet.header.csrc.first().copied(),
                        payload_type: packet.header.payload_type,
                        level: None,
                        payload: packet.payload,
                    }));
                }
            }
        });
    }
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

/// A connection that has made its offer.
struct Client {
    connection: Box<dyn PeerConnection>,
    track: Arc<dyn TrackLocal>,
    ssrc: u32,
    news: mpsc::UnboundedReceiver<News>,
    ear: Ear,
    connected: bool,
    talker: OpusTalker,
    sent: u16,
}

impl Client {
    async fn offer(number: usize) -> Result<(Client, String), Failure> {
        let name = NAMES[number];
        let (sender, news) = mpsc::unbounded_channel();
        let mut media = MediaEngine::default();
        let codec = RTCRtpCodecParameters {
            rtp_codec: opus(),
            payload_type: PAYLOAD_TYPE,
        };
        media.register_codec(codec, RtpCodecKind::Audio)?;
        let registry = register_default_interceptors(Registry::new(), &mut media)?;
        let connection = PeerConnectionBuilder::new()
            .with_configuration(RTCConfigurationBuilder::new().build())
            .with_media_engine(media)
            .with_interceptor_registry(registry)
            .with_handler(Arc::new(Handler(sender)))
            .with_runtime(default_runtime().ok_or("the webrtc crate was built without a runtime")?)
            .with_udp_addrs(vec![format!("{}:0", Ipv4Addr::LOCALHOST)])
            .build()
            .await?;
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
        let track: Arc<dyn TrackLocal> = Arc::new(TrackLocalStaticRTP::new(MediaStreamTrack::new(
            name.to_owned(),
            format!("{name}-audio"),
            name.to_owned(),
            RtpCodecKind::Audio,
            vec![encoding],
        )));
        connection.add_track(track.clone()).await?;
        let mut client = Client {
            connection: Box::new(connection),
            track,
            ssrc,
            news,
            ear: Ear::remembering(Duration::from_secs(2)),
            connected: false,
            talker: OpusTalker::new(Tone::new(tone_hz(number), AMPLITUDE), 64_000)?,
            sent: 0,
        };
        let offer = client.connection.create_offer(None).await?;
        client.connection.set_local_description(offer).await?;
        loop {
            match client.news.recv().await {
                Some(News::Gathered) => break,
                Some(News::Gone(why)) => return Err(why.into()),
                Some(_) => {}
                None => return Err("the connection went away".into()),
            }
        }
        let offer = client
            .connection
            .local_description()
            .await
            .ok_or("there is no local description")?;
        Ok((client, offer.sdp))
    }

    async fn accept(&mut self, answer: String) -> Result<(), Failure> {
        let answer = RTCSessionDescription::answer(answer)?;
        Ok(self.connection.set_remote_description(answer).await?)
    }

    /// Sends the next 20 ms, and takes what has come meanwhile.
    async fn turn(&mut self) -> Result<(), Failure> {
        while let Ok(news) = self.news.try_recv() {
            match news {
                News::Connected => self.connected = true,
                News::Gone(why) => return Err(why.into()),
                News::Audio(audio) => {
                    self.ear.hear(&audio)?;
                }
                News::Gathered => {}
            }
        }
        let packet = self.talker.next()?;
        self.sent = self.sent.wrapping_add(1);
        let header = rtc::rtp::Header {
            version: 2,
            payload_type: PAYLOAD_TYPE,
            sequence_number: self.sent,
            timestamp: u32::from(self.sent) * 960,
            ssrc: self.ssrc,
            ..Default::default()
        };
        if self.connected {
            let payload = packet.payload;
            self.track.write_rtp(rtc::rtp::Packet { header, payload }).await?;
        }
        Ok(())
    }

    /// Whether the last half second has the other's tone, and not the own one.
    fn hears_the_other(&self, number: usize) -> bool {
        let level = |number| self.ear.tone_dbfs(tone_hz(number), 0.5);
        self.ear.recent(0.5).len() >= 24_000 && level(1 - number) > HEARD_DBFS && level(number) < UNHEARD_DBFS
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut clients = Vec::new();
    for (number, name) in NAMES.iter().enumerate() {
        let (client, offer) = Client::offer(number).await?;
        println!("offer {name} {}", offer.replace("\r\n", "|"));
        clients.push(client);
    }
    std::io::stdout().flush()?;
    for line in std::io::stdin().lock().lines().take(NAMES.len()) {
        let line = line?;
        let mut words = line.splitn(3, ' ');
        let (Some("answer"), Some(name), Some(sdp)) = (words.next(), words.next(), words.next()) else {
            return Err(format!("not an answer: {line:?}").into());
        };
        let number = NAMES
            .iter()
            .position(|known| *known == name)
            .ok_or("nobody of this name")?;
        clients[number].accept(sdp.replace('|', "\r\n")).await?;
    }
    let begin = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    loop {
        ticks.tick().await;
        for client in &mut clients {
            client.turn().await?;
        }
        if clients
            .iter()
            .enumerate()
            .all(|(number, client)| client.hears_the_other(number))
        {
            println!("heard");
            return Ok(());
        }
        if begin.elapsed() > PATIENCE {
            for (number, (name, client)) in NAMES.iter().zip(&clients).enumerate() {
                let level = |number| client.ear.tone_dbfs(tone_hz(number), 0.5);
                println!(
                    "unheard: {name} is connected: {}, hears the other at {:.1} dBFS and themselves at {:.1} dBFS",
                    client.connected,
                    level(1 - number),
                    level(number)
                );
            }
            return Err("they don't hear each other".into());
        }
    }
}

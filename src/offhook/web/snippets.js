/**
 * An app in four languages on the official SDKs: it answers a call and has its sound streamed. The connection string is
 * in place; the app's own address is that of the examples, port 8000.
 */

const INSTALL = {
  Python: "pip install azure-communication-callautomation aiohttp",
  "C#": "dotnet new web\ndotnet add package Azure.Communication.CallAutomation\ndotnet add package Azure.Messaging.EventGrid",
  JavaScript: "npm install @azure/communication-call-automation",
  Java: "implementation(\"com.azure:azure-communication-callautomation:1.6.0\")\nimplementation(\"io.javalin:javalin:6.7.0\")\nimplementation(\"com.fasterxml.jackson.core:jackson-databind:2.17.2\")",
};

const CODE = {
  Python: `import aiohttp.web as web
from azure.communication.callautomation import (
    AudioFormat, MediaStreamingAudioChannelType, MediaStreamingContentType, MediaStreamingOptions, StreamingTransportType,
)
from azure.communication.callautomation.aio import CallAutomationClient

client = CallAutomationClient.from_connection_string("CONNECTION")


async def incoming_call(request):
    for event in await request.json():
        if event["eventType"] == "Microsoft.EventGrid.SubscriptionValidationEvent":
            return web.json_response({"validationResponse": event["data"]["validationCode"]})
        await client.answer_call(
            event["data"]["incomingCallContext"],
            "http://localhost:8000/api/callbacks",
            media_streaming=MediaStreamingOptions(
                transport_url="ws://localhost:8000/ws",
                transport_type=StreamingTransportType.WEBSOCKET,
                content_type=MediaStreamingContentType.AUDIO,
                audio_channel_type=MediaStreamingAudioChannelType.MIXED,
                audio_format=AudioFormat.PCM24_K_MONO,
                start_media_streaming=True,
                enable_bidirectional=True,
            ),
        )
    return web.Response()
`,
  "C#": `using Azure.Communication.CallAutomation;
using Azure.Messaging.EventGrid;
using Azure.Messaging.EventGrid.SystemEvents;

var client = new CallAutomationClient("CONNECTION");
var app = WebApplication.Create(args);

app.MapPost("/api/incomingCall", async (HttpRequest request) =>
{
    foreach (var posted in EventGridEvent.ParseMany(await BinaryData.FromStreamAsync(request.Body)))
    {
        if (!posted.TryGetSystemEventData(out var data)) continue;
        if (data is SubscriptionValidationEventData validation)
            return Results.Ok(new SubscriptionValidationResponse { ValidationResponse = validation.ValidationCode });
        if (data is not AcsIncomingCallEventData incoming) continue;
        await client.AnswerCallAsync(new AnswerCallOptions(incoming.IncomingCallContext, new Uri("http://localhost:8000/api/callbacks"))
        {
            MediaStreamingOptions = new MediaStreamingOptions(MediaStreamingAudioChannel.Mixed)
            {
                TransportUri = new Uri("ws://localhost:8000/ws"),
                AudioFormat = AudioFormat.Pcm24KMono,
                StartMediaStreaming = true,
                EnableBidirectional = true,
            },
        });
    }
    return Results.Ok();
});
app.Run("http://localhost:8000");
`,
  JavaScript: `import { createServer } from "node:http";
import { CallAutomationClient } from "@azure/communication-call-automation";

const client = new CallAutomationClient("CONNECTION");

createServer(async (request, response) => {
  let text = "";
  for await (const part of request) text += part;
  let answer = "";
  for (const event of request.url === "/api/incomingCall" ? JSON.parse(text) : []) {
    if (event.eventType === "Microsoft.EventGrid.SubscriptionValidationEvent") {
      answer = JSON.stringify({ validationResponse: event.data.validationCode });
    } else {
      await client.answerCall(event.data.incomingCallContext, "http://localhost:8000/api/callbacks", {
        mediaStreamingOptions: {
          transportUrl: "ws://localhost:8000/ws",
          transportType: "websocket",
          contentType: "audio",
          audioChannelType: "mixed",
          audioFormat: "pcm24KMono",
          startMediaStreaming: true,
          enableBidirectional: true,
        },
      });
    }
  }
  response.writeHead(200, { "Content-Type": "application/json" }).end(answer);
}).listen(8000);
`,
  Java: `import com.azure.communication.callautomation.*;
import com.azure.communication.callautomation.models.*;
import com.azure.core.util.Context;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.javalin.Javalin;
import java.util.Map;

public class App {
  public static void main(String[] args) {
    var client = new CallAutomationClientBuilder().connectionString("CONNECTION").buildClient();
    var json = new ObjectMapper();
    Javalin.create().post("/api/incomingCall", request -> {
      for (var event : json.readTree(request.body())) {
        var data = event.get("data");
        if (event.get("eventType").asText().equals("Microsoft.EventGrid.SubscriptionValidationEvent")) {
          request.json(Map.of("validationResponse", data.get("validationCode").asText()));
          return;
        }
        var streaming = new MediaStreamingOptions(MediaStreamingAudioChannel.MIXED)
            .setTransportUrl("ws://localhost:8000/ws")
            .setAudioFormat(AudioFormat.PCM_24K_MONO)
            .setStartMediaStreaming(true)
            .setEnableBidirectional(true);
        var options = new AnswerCallOptions(data.get("incomingCallContext").asText(), "http://localhost:8000/api/callbacks")
            .setMediaStreamingOptions(streaming);
        client.answerCallWithResponse(options, Context.NONE);
      }
    }).start(8000);
  }
}
`,
};
CODE.Python += `

app = web.Application()
app.router.add_post("/api/incomingCall", incoming_call)
web.run_app(app, host="localhost", port=8000)
`;

/**
 * @param {string} connection the connection string
 * @param {Record<string, string>} environment
 * @param {string} node see `nodeOption`
 * @returns {{name: string, install: string, code: string, trust: string}[]}
 */
export function snippets(connection, environment, node) {
  const authority = environment.NODE_EXTRA_CA_CERTS ?? "";
  const trust = {
    Python: `Run it by offhook exec${node} -- python app.py, which makes the SDK trust this node's certificate.`,
    "C#": `Run it by offhook exec${node} -- dotnet run, which makes .NET on Linux trust this node's certificate.`,
    JavaScript: `Run it by offhook exec${node} -- node app.mjs, which makes Node.js trust this node's certificate.`,
    Java: `Java has a trust store of its own. Make one once: keytool -importcert -noprompt -alias offhook -file ${authority} -keystore offhook.p12 -storepass offhook, and run the app with -Djavax.net.ssl.trustStore=offhook.p12`,
  };
  return /** @type {(keyof typeof CODE)[]} */ (Object.keys(CODE)).map((name) => ({
    name,
    install: INSTALL[name],
    code: CODE[name].replace("CONNECTION", () => connection),
    trust: trust[name],
  }));
}

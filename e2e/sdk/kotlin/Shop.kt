import ch.qos.logback.classic.Level
import com.sun.net.httpserver.HttpExchange
import com.sun.net.httpserver.HttpServer
import io.grpc.CallOptions
import io.grpc.ManagedChannel
import io.grpc.MethodDescriptor
import io.grpc.ServerServiceDefinition
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder
import io.grpc.stub.ClientCalls
import io.grpc.stub.ServerCalls
import java.io.InputStream
import java.net.InetAddress
import java.net.InetSocketAddress
import java.net.URI
import java.net.http.HttpClient
import java.net.http.HttpRequest
import java.net.http.HttpResponse
import java.util.concurrent.Executors
import java.util.logging.Logger
import org.slf4j.LoggerFactory
import ch.qos.logback.classic.Logger as Logback

// A service with nothing of OpenTelemetry in it: the Java agent does all. What it serves is said in ../doc.go. For each order it
// asks its own gRPC service for a price, so that a trace has HTTP and gRPC, and log records of Logback and java.util.logging.

val name: String = System.getenv("OTEL_SERVICE_NAME")
val next: String? = System.getenv("NEXT")
val log = LoggerFactory.getLogger("shop")
val oldLog: Logger = Logger.getLogger("shop.prices")
val client: HttpClient = HttpClient.newHttpClient()

// A string as it is: no generated code, so no protoc.
object Text : MethodDescriptor.Marshaller<String> {
    override fun stream(value: String): InputStream = value.byteInputStream()
    override fun parse(stream: InputStream): String = stream.readBytes().decodeToString()
}

val price: MethodDescriptor<String, String> = MethodDescriptor.newBuilder(Text, Text)
    .setType(MethodDescriptor.MethodType.UNARY).setFullMethodName("shop.Prices/Price").build()

fun prices(): ManagedChannel {
    val service = ServerServiceDefinition.builder("shop.Prices").addMethod(price, ServerCalls.asyncUnaryCall { kind, reply ->
        oldLog.info("$name has a price for $kind")
        reply.onNext("1550")
        reply.onCompleted()
    }).build()
    val server = NettyServerBuilder.forAddress(InetSocketAddress(InetAddress.getByName("127.0.0.1"), 0)).addService(service).build().start()
    return NettyChannelBuilder.forAddress("127.0.0.1", server.port).usePlaintext().build()
}

fun serve(exchange: HttpExchange, prices: ManagedChannel) {
    val path = exchange.requestURI.path
    val kind = path.substringAfterLast('/')
    log.info("$name serves $kind")
    if (kind == "slow") Thread.sleep(1200)
    if (kind != "plain") ClientCalls.blockingUnaryCall(prices, price, CallOptions.DEFAULT, kind)
    var status = if (kind == "error") 500 else 200
    if (next != null) {
        client.send(HttpRequest.newBuilder(URI.create(next + path)).build(), HttpResponse.BodyHandlers.ofString())
        status = 200
    }
    val body = kind.toByteArray()
    exchange.sendResponseHeaders(status, body.size.toLong())
    exchange.responseBody.use { it.write(body) }
}

fun main() {
    (LoggerFactory.getLogger("ROOT") as Logback).level = Level.INFO // without a word of its own Logback records Netty's DEBUG, too
    val prices = prices()
    val server = HttpServer.create(InetSocketAddress(InetAddress.getByName("127.0.0.1"), 0), 0)
    server.executor = Executors.newFixedThreadPool(8)
    server.createContext("/order") { serve(it, prices) }
    server.start()
    println("listening ${server.address.port}")
}

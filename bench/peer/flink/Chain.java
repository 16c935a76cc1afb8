import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.concurrent.locks.LockSupport;
import org.apache.flink.api.common.functions.MapFunction;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.configuration.TaskManagerOptions;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.legacy.SinkFunction;
import org.apache.flink.streaming.api.functions.source.legacy.SourceFunction;

/**
 * A chain of Flink operators in a MiniCluster: a source that paces the load, maps that pass events on, a
 * sink that measures. Arguments: stages, payload bytes, events a second (0: as fast as it goes), warm-up
 * events, counted events, buffer time-out in ms (-1: the default), chained (true or false), one of so
 * many latencies is kept.
 *
 * It prints one JSON object: seconds, cpu (of the JVM, between the first and the last counted event), and
 * the latencies in nanoseconds.
 */
public final class Chain {

    public static void main(String[] args) throws Exception {
        int stages = Integer.parseInt(args[0]);
        Configuration config = new Configuration();
        config.set(TaskManagerOptions.NETWORK_MEMORY_MIN, MemorySize.ofMebiBytes(64));
        config.set(TaskManagerOptions.NETWORK_MEMORY_MAX, MemorySize.ofMebiBytes(64));
        StreamExecutionEnvironment env = StreamExecutionEnvironment.createLocalEnvironment(1, config);
        env.getConfig().enableObjectReuse();
        long timeout = Long.parseLong(args[5]);
        if (timeout >= 0) {
            env.setBufferTimeout(timeout);
        }
        if (!Boolean.parseBoolean(args[6])) {
            env.disableOperatorChaining();
        }
        long warmup = Long.parseLong(args[3]);
        long events = Long.parseLong(args[4]);
        DataStream<byte[]> stream = env.addSource(
                new Load(Integer.parseInt(args[1]), Double.parseDouble(args[2]), warmup + events));
        for (int i = 1; i < stages - 1; i++) {
            stream = stream.map(new Pass());
        }
        stream.addSink(new Measure(warmup, events, Integer.parseInt(args[7])));
        env.execute("chain");
    }

    /** Makes the load's events: due, sent and number, then padding. */
    static final class Load implements SourceFunction<byte[]> {
        private final int size;
        private final double rate;
        private final long count;
        private volatile boolean running = true;

        Load(int size, double rate, long count) {
            this.size = size;
            this.rate = rate;
            this.count = count;
        }

        @Override
        public void run(SourceContext<byte[]> out) {
            byte[] event = new byte[size];
            ByteBuffer head = ByteBuffer.wrap(event).order(ByteOrder.LITTLE_ENDIAN);
            long began = System.nanoTime();
            for (long n = 0; running && n < count; n++) {
                long due = 0;
                if (rate > 0) {
                    due = began + (long) (n / rate * 1e9);
                    for (long wait; (wait = due - System.nanoTime()) > 0; ) {
                        LockSupport.parkNanos(wait);
                    }
                }
                long sent = System.nanoTime();
                head.putLong(0, rate > 0 ? due : sent).putLong(8, sent).putLong(16, n);
                out.collect(event);
            }
        }

        @Override
        public void cancel() {
            running = false;
        }
    }

    /** Passes an event on. */
    static final class Pass implements MapFunction<byte[], byte[]> {
        @Override
        public byte[] map(byte[] event) {
            return event;
        }
    }

    /** Measures the events that come. */
    static final class Measure implements SinkFunction<byte[]> {
        private final long warmup;
        private final long events;
        private final int every;
        private long next;
        private long first;
        private long cpu;
        private transient long[] sent;
        private transient long[] due;
        private int kept;

        Measure(long warmup, long events, int every) {
            this.warmup = warmup;
            this.events = events;
            this.every = every;
        }

        @Override
        public void invoke(byte[] event, Context context) {
            long now = System.nanoTime();
            ByteBuffer head = ByteBuffer.wrap(event).order(ByteOrder.LITTLE_ENDIAN);
            long n = head.getLong(16);
            if (n != next++) {
                System.err.println("event " + n + " came, event " + (next - 1) + " was expected");
                System.exit(3);
            }
            long counted = n - warmup;
            if (counted < 0) {
                return;
            }
            if (counted == 0) {
                first = now;
                cpu = processCpu();
                sent = new long[(int) (events / every) + 1];
                due = new long[sent.length];
            }
            if (counted % every == 0) {
                sent[kept] = now - head.getLong(8);
                due[kept++] = now - head.getLong(0);
            }
            if (counted == events - 1) {
                report(now);
            }
        }

        private void report(long now) {
            StringBuilder b = new StringBuilder("{\"seconds\":").append((now - first) / 1e9);
            b.append(",\"cpu\":").append((processCpu() - cpu) / 1e9).append(",\"sent\":[");
            list(b, sent).append("],\"due\":[");
            list(b, due).append("]}");
            System.out.println(b);
            System.out.flush();
        }

        private StringBuilder list(StringBuilder b, long[] values) {
            for (int i = 0; i < kept; i++) {
                b.append(i == 0 ? "" : ",").append(values[i]);
            }
            return b;
        }

        private static long processCpu() {
            return ((com.sun.management.OperatingSystemMXBean)
                    java.lang.management.ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime();
        }
    }
}
